//! Removes a folder whose content a stranger made.
//!
//! The content can have any depth and any links, and its folders can deny access to their owner. So this code is not
//! recursive, does not hold a descriptor for each level, follows no link, and uses no path that could meanwhile lead
//! elsewhere. Instead, each folder inside another one is moved up to the top, until no folder contains another.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmod, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::postgres::random_key;

/// A process that still writes there could keep this busy for ever.
const LIMIT: Duration = Duration::from_secs(600);

/// Removes everything in a folder.
pub(super) fn remove_content(root: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = Names::new()?;
    let began = Instant::now();
    loop {
        let mut is_empty = true;
        for name in entries(root)? {
            let name = name?;
            is_empty = false;
            if !is_folder(unlinkat(root, &*name, AtFlags::empty()))? {
                continue;
            }
            let folder = open_folder(root, &name)?;
            flatten(folder.as_fd(), root, &mut names)?;
            match unlinkat(root, &*name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if is_empty {
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Removes the files of a folder, and moves the folders in it up to `root`.
fn flatten(folder: BorrowedFd<'_>, root: BorrowedFd<'_>, names: &mut Names) -> io::Result<()> {
    for name in entries(folder)? {
        let name = name?;
        if !is_folder(unlinkat(folder, &*name, AtFlags::empty()))? {
            continue;
        }
        // To be moved, a folder must be accessible to its owner, because the entry for its parent is rewritten.
        drop(open_folder(folder, &name)?);
        match renameat(folder, &*name, root, names.next()) {
            // A process that still writes there may have taken the name. The next round moves it.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether an entry that could not be removed as a file is a folder.
fn is_folder(removed: Result<(), Errno>) -> io::Result<bool> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::ISDIR | Errno::PERM) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder, after giving its owner access to it. A link is not followed.
fn open_folder(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
    open_up(found.as_fd());
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Gives the owner of a folder access to it, if that is this user.
pub(super) fn open_up(found: BorrowedFd<'_>) {
    // No system call changes the mode by way of such a descriptor, but its path in /proc works.
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    if let Err(error) = chmod(&path, Mode::RWXU) {
        tracing::debug!(%error, "folder left as it was");
    }
}

/// The entries of a folder, in the order in which they are found.
fn entries(
    folder: BorrowedFd<'_>,
) -> io::Result<impl Iterator<Item = io::Result<std::ffi::CString>>> {
    let names = Dir::read_from(folder)?.map(|entry| Ok(entry?.file_name().to_owned()));
    Ok(names.filter(|name: &io::Result<std::ffi::CString>| {
        !matches!(name.as_deref().map(CStr::to_bytes), Ok(b"." | b".."))
    }))
}

/// Names that nobody else can guess.
struct Names {
    beginning: String,
    count: u64,
}

impl Names {
    fn new() -> io::Result<Self> {
        Ok(Self {
            beginning: random_key()?,
            count: 0,
        })
    }

    fn next(&mut self) -> String {
        self.count = self.count.saturating_add(1);
        format!("{}-{}", self.beginning, self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn whatever_is_in_a_folder_goes_and_what_links_lead_to_stays() {
        let root = tempfile::tempdir().unwrap();
        let kept = tempfile::tempdir().unwrap();
        fs::write(kept.path().join("kept"), "x").unwrap();
        symlink(kept.path(), root.path().join("link")).unwrap();
        fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        fs::write(root.path().join("a/b/c/file"), "x").unwrap();
        symlink(kept.path(), root.path().join("a/b/link")).unwrap();
        fs::set_permissions(root.path().join("a/b"), Permissions::from_mode(0o000)).unwrap();
        // The folder is deeper than a path can be long, and than the number of descriptors allows.
        let mut deep = OwnedFd::from(File::open(root.path()).unwrap());
        for _ in 0..5000 {
            rustix::fs::mkdirat(&deep, "d", Mode::RWXU).unwrap();
            deep = openat(&deep, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let folder = File::open(root.path()).unwrap();
        remove_content(folder.as_fd()).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert!(kept.path().join("kept").exists());
    }
}
