//! The only use that `pg_dumpall` makes of a shell: it asks the `pg_dump` in its own folder for its version. The image has
//! no shell. There, this program takes its place under the name `sh`, and does only this.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

/// The exit code of a shell that could not run a command.
pub const NOT_RUN: u8 = 127;

/// Whether this program was started under the name of a shell.
#[must_use]
pub fn is_meant(name: Option<&OsString>) -> bool {
    let name = name.map(Path::new).and_then(Path::file_name);
    name.is_some_and(|name| name == "sh")
}

/// Becomes the `pg_dump` whose version is asked for. It returns only if that can't be done.
#[must_use]
pub fn run(arguments: &[OsString]) -> io::Error {
    match wanted(arguments) {
        Some(program) => process::Command::new(program).arg("-V").exec(),
        None => io::Error::other(
            "this image has no shell; this one only asks pg_dump for its version, on behalf of pg_dumpall",
        ),
    }
}

/// The program in `sh -c '"/…/pg_dump" -V'`; some systems put a `--` before the command.
fn wanted(arguments: &[OsString]) -> Option<PathBuf> {
    let words: Option<Vec<&str>> = arguments.iter().map(|word| word.to_str()).collect();
    let command = match words?.as_slice() {
        ["-c", command] | ["-c", "--", command] => *command,
        _ => return None,
    };
    let path = command.strip_prefix('"')?.strip_suffix("\" -V")?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let program = Path::new(path);
    let is_pg_dump = program.is_absolute() && program.file_name()? == "pg_dump";
    (is_pg_dump && path.chars().all(is_plain)).then(|| program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_version_of_pg_dump_is_asked_for() {
        let of = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            wanted(&words)
        };
        let path = "/usr/lib/postgresql/17/bin/pg_dump";
        let command = format!("\"{path}\" -V");
        assert_eq!(of(&["-c", &command]), Some(path.into()));
        assert_eq!(of(&["-c", "--", &command]), Some(path.into()));
        for other in [
            &[][..],
            &["-c"],
            &["-i"],
            &["-c", "id"],
            &["-c", "\"/bin/id\" -V"],
            &["-c", "\"pg_dump\" -V"],
            &["-c", "\"/a/pg_dump\" -V; id"],
            &["-c", "\"/a/$(id)/pg_dump\" -V"],
            &["-c", "\"/a\" \"/pg_dump\" -V"],
            &["-c", "\"/a/pg_dump\" -Vx"],
            &["-c", &command, "more"],
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
        for (name, meant) in [
            ("/bin/sh", true),
            ("sh", true),
            ("/a/postgres-s3-backups", false),
        ] {
            assert_eq!(is_meant(Some(&name.into())), meant);
        }
        assert!(!is_meant(None));
    }
}
