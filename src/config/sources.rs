//! Where the values of variables come from. A value that comes from a file can change while the service runs.

use std::ffi::OsString;
use std::fmt;

use super::problem::{Findings, Problem};
use super::variables::Variable;
use super::{Given, proof, store};
use crate::drill::DrillServer;
use crate::network::address::Address;
use crate::postgres::DatabaseUrl;
use crate::secret::renewable::Renewable;
use crate::secret::{Redactor, Secret};
use crate::store::StoreSettings;

/// Reads the file of a `NAME_FILE` variable.
pub type ReadFile = fn(&str) -> Result<String, String>;

/// The variables of the process, and the function that reads the files which some of them name.
#[derive(Clone)]
pub struct Sources {
    variables: Vec<(OsString, OsString)>,
    read_file: ReadFile,
    /// Takes out all secrets that were ever read.
    redactor: Renewable<Redactor>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources(…)")
    }
}

/// What the files held when they were read again. A value is absent if it was not set or can't be used.
#[derive(Debug, Default)]
pub struct Secrets {
    /// The store's keys.
    pub store: Option<StoreSettings>,
    /// `BACKUP_DATABASE_URL`
    pub database: Option<DatabaseUrl>,
    /// `VERIFY_DATABASE_URL`
    pub drills: Option<DrillServer>,
    /// `ALERT_WEBHOOK_URL`
    pub alerts: Option<Address>,
    /// `HEARTBEAT_URL`
    pub heartbeat: Option<Address>,
    /// `STATUS_TOKEN`
    pub status_token: Option<Secret>,
    /// What is wrong with those that can't be used.
    pub problems: Vec<Problem>,
}

impl Sources {
    /// Puts the variables together with the function that reads their files.
    #[must_use]
    pub fn new(variables: &[(OsString, OsString)], read_file: ReadFile) -> Self {
        let sources = Self {
            variables: variables.to_vec(),
            read_file,
            redactor: Renewable::default(),
        };
        sources.redactor.set(sources.all());
        sources
    }

    /// Takes every secret that was read out of a text, as it is and in its parts, whatever is wrong with the variables.
    #[must_use]
    pub fn redactor(&self) -> Renewable<Redactor> {
        self.redactor.clone()
    }

    /// Whether any secret comes from a file.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.variables.iter().any(|(name, value)| {
            let is_file =
                |name: &str| Variable::called(name).is_some_and(|known| known.name != name);
            name.to_str().is_some_and(is_file) && !value.is_empty()
        })
    }

    /// A redactor for the secrets as they are now.
    fn all(&self) -> Redactor {
        let values = self.variables.iter().filter_map(|(name, value)| {
            let name = name.to_str()?;
            let variable = Variable::called(name).filter(|variable| variable.secret)?;
            let value = value.to_string_lossy();
            if variable.name == name {
                Some(value.trim().to_owned())
            } else {
                let content = (self.read_file)(value.trim()).ok()?;
                Some(content.trim().to_owned())
            }
        });
        let secrets: Vec<Secret> = values.flat_map(|value| parts(&value)).collect();
        Redactor::new(&secrets)
    }

    /// Reads all secrets once more.
    #[must_use]
    pub fn read(&self) -> Secrets {
        self.redactor.set(self.redactor.get().and(self.all()));
        let mut findings = Findings::default();
        let given = Given::read(&self.variables, self.read_file, &mut findings);
        let store = store::settings(&given, &mut findings);
        let mut secrets = Secrets {
            database: given.source(&mut findings),
            drills: proof::server(&given, &mut findings),
            alerts: given.alerts(&mut findings),
            heartbeat: given.heartbeat(&mut findings),
            ..Secrets::default()
        };
        secrets.status_token = given.settings.status_token;
        // The keys belong together: if one of them is wrong, the others are not used either.
        if !store::CONNECTION
            .iter()
            .any(|variable| findings.has_refused(variable))
        {
            secrets.store = store;
        }
        findings.sort();
        secrets.problems = findings.problems;
        secrets
    }
}

/// A secret, and if it is a URL, what of it is secret by itself: the password of a database, the token of a webhook.
fn parts(value: &str) -> Vec<Secret> {
    /// Shorter pieces of a path are words such as `api`.
    const TOKEN: usize = 8;
    // Quotes that somebody took for a part of the syntax are none of the secret.
    let mut parts = vec![value, value.trim_matches(['"', '\''])];
    if let Some((scheme, rest)) = value.split_once("://") {
        // A password that was not encoded may hold an @.
        let (person, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        parts.extend(person.split_once(':').map(|(_, password)| password));
        let (path, query) = place.split_once('?').unwrap_or((place, ""));
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if name.contains("pass") || scheme.starts_with("http") {
                parts.push(value);
            }
        }
        if scheme.starts_with("http") {
            let pieces = path.split('/').skip(1);
            parts.extend(pieces.filter(|piece| piece.len() >= TOKEN));
        }
    }
    let decoded = |part: &str| {
        percent_encoding::percent_decode_str(part)
            .decode_utf8_lossy()
            .into_owned()
    };
    parts
        .into_iter()
        .flat_map(|part| [part.to_owned(), decoded(part)])
        .map(Secret::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(variables: &[(&str, &str)]) -> Sources {
        let variables: Vec<(OsString, OsString)> = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Sources::new(&variables, |path| match path {
            "/run/token" => Ok("token-of-a-file-0123\n".to_owned()),
            _ => Err(String::new()),
        })
    }

    #[test]
    fn every_secret_that_is_set_is_taken_out_of_a_text() {
        let redactor = sources(&[
            ("AWS_SECRET_ACCESS_KEY", " \"key-with-quotes\" "),
            ("AWS_S3_BUCKET", "vlvt-backups"),
            (
                "BACKUP_DATABASE_URL",
                "postgres://u:p%40ss-w0rd@h:5432/db?sslpassword=s3cret-of-a-key",
            ),
            ("RESTORE_DATABASE_URL", "postgres://u:not@enc0ded@h/db"),
            (
                "ALERT_WEBHOOK_URL",
                "https://hooks.example.com/services/T0123456789/abcdefgh?sig=0a1b2c",
            ),
            ("STATUS_TOKEN_FILE", "/run/token"),
            ("HEARTBEAT_URL_FILE", "/run/none"),
        ])
        .redactor()
        .get();
        for text in [
            "key-with-quotes",
            "p%40ss-w0rd",
            "p@ss-w0rd",
            "not@enc0ded",
            "s3cret-of-a-key",
            "https://hooks.example.com/services/T0123456789/abcdefgh?sig=0a1b2c",
            "T0123456789",
            "abcdefgh",
            "0a1b2c",
            "token-of-a-file-0123",
        ] {
            assert_eq!(redactor.redact(&format!("({text})")), "([redacted])");
        }
        let readable = "u at h:5432/db, bucket vlvt-backups, /run/token";
        assert_eq!(redactor.redact(readable), readable);
    }
}
