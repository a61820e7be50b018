//! A certificate authority that nobody knows but the test, and certificates of every kind that goes wrong.

use std::path::PathBuf;
use std::process::Command;

use super::process::{Folder, tools};

/// Files in PEM, removed when it is dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: Folder,
}

impl Certificates {
    /// All of them are made by the `openssl` program.
    pub fn new() -> Self {
        let library = tools(&["openssl", "faketime"]).join("faketime/libfaketime.so.1");
        let certificates = Self {
            folder: Folder::new(),
        };
        let made = certificates.shell(
            r#"
            authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -days 30 \
                -subj "/CN=$1" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign; }
            authority known; authority stranger
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=localhost
            sign() { # NAME AUTHORITY HOSTS
                printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$3" > "$1.ext"
                openssl x509 -req -in server.csr -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 -out "$1.pem" -extfile "$1.ext"; }
            sign good known DNS:localhost,IP:127.0.0.1
            sign unknown stranger DNS:localhost,IP:127.0.0.1
            sign elsewhere known DNS:db.example.com
            chmod 644 *.pem server.key"#,
            &[],
        );
        assert!(made.is_ok(), "{made:?}");
        let expired = certificates.shell(
            "openssl x509 -req -in server.csr -CA known.pem -CAkey known.key -CAcreateserial -days 2 -out expired.pem -extfile good.ext && chmod 644 expired.pem",
            &[("LD_PRELOAD", library.to_str().expect("a plain path")), ("FAKETIME", "-10d")],
        );
        assert!(expired.is_ok(), "{expired:?}");
        certificates
    }

    /// A file by its name: `known` is the authority to trust, `good`, `expired`, `unknown` (of another authority) and
    /// `elsewhere` (for another host) are certificates for the same key.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }

    /// The key of all of them.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    fn shell(&self, script: &str, variables: &[(&str, &str)]) -> Result<(), String> {
        let output = Command::new("/bin/sh")
            .args(["-ec", script])
            .current_dir(self.folder.path())
            .envs(variables.iter().copied())
            .output()
            .expect("start sh");
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}
