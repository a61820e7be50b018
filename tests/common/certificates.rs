//! A certificate authority that only the tests know, a good certificate, and certificates with every kind of fault.

use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::postgres::Account;
use super::process::{Folder, tools};

/// A folder of PEM files, which is removed when this is dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: Folder,
}

/// What the functions of the script below are made of. Certificates are valid from 2001 to the end of the century, so that
/// services with a faked clock find them valid too.
const FUNCTIONS: &str = r#"
    authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -days 36500 \
        -subj "/CN=$1" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign; }
    sign() { # NAME AUTHORITY HOSTS DAYS
        printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n' "$3" > "$1.ext"
        openssl x509 -req -in server.csr -CA "$2.pem" -CAkey "$2.key" -set_serial "0x$(openssl rand -hex 16)" -days "$4" \
            -out "$1.pem" -extfile "$1.ext"; }
"#;

/// The names under which the servers of the tests are reached. The libpq of 14 knows no addresses in certificates: it compares
/// them as names.
const HOSTS: &str = "DNS:localhost,DNS:pgbouncer.internal,IP:127.0.0.1,DNS:127.0.0.1";

impl Certificates {
    /// Makes all files with the program `openssl`.
    pub fn new() -> Self {
        let certificates = Self {
            folder: Folder::new(),
        };
        certificates.make(
            "2001-01-01 00:00:00",
            &format!(
                "authority known; authority stranger
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=localhost
                sign good known {HOSTS} 36500
                sign unknown stranger {HOSTS} 36500
                sign elsewhere known DNS:db.example.com 36500
                sign expired known {HOSTS} 2
                chmod 644 *.pem server.key"
            ),
        );
        certificates
    }

    /// The file with this name. `known` is the authority to trust. `good`, `expired`, `unknown` (of another authority) and
    /// `elsewhere` (for another host) are certificates for the same key.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }

    /// The key of all these certificates.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// A good certificate for servers with more addresses.
    pub fn for_addresses(&self, addresses: &[IpAddr]) -> PathBuf {
        let name = addresses
            .iter()
            .map(|address| address.to_string().replace(':', "-"))
            .collect::<Vec<_>>()
            .join("_");
        let further: String = addresses
            .iter()
            .map(|address| format!(",IP:{address},DNS:{address}"))
            .collect();
        self.make(
            "2001-01-01 00:00:00",
            &format!("sign {name} known {HOSTS}{further} 36500; chmod 644 {name}.pem"),
        );
        self.path(&name)
    }

    /// Puts a certificate and its key into a folder in the form that PostgreSQL and PgBouncer require: nobody else may read
    /// the key.
    pub fn give(&self, certificate: &Path, folder: &Path, account: Option<&Account>) {
        for (from, to) in [
            (certificate, "server.crt"),
            (self.key().as_path(), "server.key"),
        ] {
            let to = folder.join(to);
            std::fs::copy(from, &to).expect("copy a certificate");
            std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600))
                .expect("close a file to others");
            if let Some(account) = account {
                chown(&to, Some(account.user), Some(account.group)).expect("give a file away");
            }
        }
    }

    /// What a server in this process needs to present a certificate.
    pub fn server(&self, certificate: &Path) -> Arc<rustls::ServerConfig> {
        let chain = CertificateDer::pem_file_iter(certificate)
            .expect("it was made")
            .map(|certificate| certificate.expect("PEM"))
            .collect();
        let key = PrivateKeyDer::from_pem_file(self.key()).expect("it was made");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key is the certificate's");
        Arc::new(config)
    }

    /// Runs a script with a faked time.
    fn make(&self, time: &str, script: &str) {
        let library = tools(&["openssl", "faketime"]).join("faketime/libfaketime.so.1");
        let output = Command::new("/bin/sh")
            .args(["-ec", &format!("{FUNCTIONS}\n{script}")])
            .current_dir(self.folder.path())
            .env("LD_PRELOAD", library)
            .env("FAKETIME", time)
            .env("TZ", "UTC")
            .output()
            .expect("start sh");
        assert!(
            output.status.success(),
            "{script}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
