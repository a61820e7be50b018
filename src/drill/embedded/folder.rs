//! The folder of a throwaway server. It holds a copy of the whole database, so it must be removed as soon as nobody uses it,
//! and not earlier.
//!
//! The process that uses the folder holds a lock on it, which the kernel releases when the process ends, however it ends. So
//! whoever gets the lock may remove the folder. A process number would not be enough: it is the same after a restart of the
//! container, and in another container that shares the folder it belongs to another process.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::remove::{open_up, remove_content};

/// How the names of such folders begin.
const PREFIX: &str = "psb-drill-";

/// A folder that is in use. Dropping it removes the folder, which can take long.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes a folder, and locks it.
    pub(super) fn create(temporary: &Path) -> io::Result<Self> {
        let temporary = temporary.canonicalize()?;
        loop {
            let made = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&temporary)?;
            // Between these two steps, another process may have taken the lock in order to remove a folder that seemed to be
            // left behind.
            if let Some(lock) = lock(made.path())? {
                return Ok(Self {
                    path: made.keep(),
                    lock,
                });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path, &self.lock) {
            tracing::warn!(folder = %self.path.display(), %error, "could not remove the drill's folder; the next drill removes it");
        }
    }
}

/// Removes a folder whose lock this process holds.
fn remove(folder: &Path, lock: &File) -> io::Result<()> {
    open_up(lock.as_fd());
    remove_content(lock.as_fd())?;
    std::fs::remove_dir(folder)
}

/// Takes the lock of a folder. Returns `None` if somebody else has it, or if the folder is gone.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The programs of a drill could have taken the owner's rights to the folder away.
    match rustix::fs::open(folder, flags | OFlags::PATH, Mode::empty()) {
        Ok(found) => open_up(found.as_fd()),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let file = File::from(rustix::fs::open(folder, flags, Mode::empty())?);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The lock only counts if the name still leads to the folder that was locked.
    let locked = file.metadata()?;
    let Ok(named) = folder.symlink_metadata() else {
        return Ok(None);
    };
    let is_same = (locked.dev(), locked.ino()) == (named.dev(), named.ino());
    Ok(is_same.then_some(file))
}

/// Removes the folders that nobody uses, and stops the servers that still run in them. It blocks while it waits for disks
/// and processes.
pub(super) fn sweep(temporary: &Path) {
    let Ok(temporary) = temporary.canonicalize() else {
        return;
    };
    let entries = std::fs::read_dir(temporary).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX))
    });
    for folder in ours.map(|entry| entry.path()) {
        let lock = match lock(&folder) {
            Ok(Some(lock)) => lock,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "could not remove a killed drill's folder");
                continue;
            }
        };
        stop_server(&folder, &lock);
        match remove(&folder, &lock) {
            Ok(()) => {
                tracing::info!(folder = %folder.display(), "folder of a killed drill removed");
            }
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "could not remove a killed drill's folder");
            }
        }
    }
}

/// Stops a server that was left behind in a folder.
fn stop_server(folder: &Path, lock: &File) {
    const LIMIT: Duration = Duration::from_secs(5);
    let Some(id) = postmaster(lock) else { return };
    // The content of this file may have been forged. So a process is only stopped if its working directory is this very
    // folder.
    let works_there = || {
        std::fs::read_link(format!("/proc/{}/cwd", id.as_raw_nonzero()))
            .is_ok_and(|cwd| cwd.starts_with(folder))
    };
    let began = Instant::now();
    if works_there()
        && let Err(error) = kill_process(id, Signal::QUIT)
    {
        tracing::debug!(%error, "a left server was gone");
    }
    while works_there() && began.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(10));
    }
}

/// The process number that the server wrote down. A stranger may have replaced the file, so links and pipes are refused, and
/// no more is read than a number needs.
fn postmaster(lock: &File) -> Option<Pid> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let data = openat(lock, "data", flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let file = File::from(openat(&data, "postmaster.pid", flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    Pid::from_raw(text.lines().next()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(temporary: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(temporary).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_folder_that_is_used_stays_and_one_that_is_not_goes() {
        let temporary = tempfile::tempdir().unwrap();
        let temporary = temporary.path().canonicalize().unwrap();
        let used = Folder::create(&temporary).unwrap();
        // An older version put the process number into the name. It is 1 in every container, so it can be that of this
        // process.
        let left = temporary.join(format!("{PREFIX}{}-x", std::process::id()));
        std::fs::create_dir_all(left.join("data")).unwrap();
        std::fs::write(left.join("data/postmaster.pid"), "1\n").unwrap();
        let foreign = temporary.join("psb-other");
        std::fs::create_dir(&foreign).unwrap();
        sweep(&temporary);
        let mut expected = vec![used.path().to_owned(), foreign.clone()];
        expected.sort();
        assert_eq!(folders(&temporary), expected);
        drop(used);
        assert_eq!(folders(&temporary), [foreign]);
    }

    #[test]
    fn a_link_is_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let kept = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(kept.path(), temporary.path().join(format!("{PREFIX}1-x")))
            .unwrap();
        sweep(temporary.path());
        assert!(kept.path().is_dir());
        assert_eq!(folders(temporary.path()).len(), 1);
    }
}
