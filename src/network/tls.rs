//! Why two sides could not agree on TLS, by the type of the error and never by its words.
//!
//! A connection that breaks off does not count, whether it was closed properly or not, during the handshake or after it. That
//! is a fault of the network, and the next connection may work.

use std::error::Error;

use hyper_util::client::legacy;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::fault::chain;

/// Why this service does not trust the other side. Waiting does not help with any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is not signed by an authority that is trusted here.
    UnknownIssuer,
    /// The certificate is for another host.
    OtherName,
    /// Something else is wrong with the certificate.
    Certificate,
    /// The two sides have no version, cipher or name in common, or the other side wants a certificate from us.
    Disagreed,
    /// What answers does not speak TLS.
    NotTls,
}

impl Distrust {
    /// Looks for a failure of trust among the causes of an error.
    #[must_use]
    pub(crate) fn among(error: &(dyn Error + 'static)) -> Option<Self> {
        let connecting = chain::causes(error)
            .filter_map(|cause| cause.downcast_ref::<legacy::Error>())
            .any(legacy::Error::is_connect);
        Self::of(chain::find(error)?, connecting)
    }

    /// What a TLS error says about the other side; `None` if it is only a fault of the network.
    fn of(error: &rustls::Error, connecting: bool) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(certificate) => {
                Some(Self::of_certificate(certificate))
            }
            rustls::Error::AlertReceived(alert) if is_verdict(*alert) => Some(Self::Disagreed),
            rustls::Error::NoCertificatesPresented
            | rustls::Error::UnsupportedNameType
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::NoApplicationProtocol => Some(Self::Disagreed),
            // In the middle of a connection, a byte was changed on the way.
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) if connecting => {
                Some(Self::NotTls)
            }
            _ => None,
        }
    }

    const fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName
            }
            _ => Self::Certificate,
        }
    }
}

/// Whether an alert is a real refusal by the other side. A side that shuts down or is in disorder sends alerts too.
const fn is_verdict(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::InappropriateFallback
            | AlertDescription::UnrecognisedName
            | AlertDescription::NoApplicationProtocol
            | AlertDescription::MissingExtension
            | AlertDescription::UnsupportedExtension
            | AlertDescription::EncryptedClientHelloRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{OtherError, PeerIncompatible, PeerMisbehaved};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("certificate tls alert handshake UnknownIssuer expired")]
    struct Words;

    #[test]
    fn only_a_verdict_on_the_other_side_is_no_fault_of_the_wire() {
        let (time, name) = (
            UnixTime::since_unix_epoch(std::time::Duration::ZERO),
            || ServerName::try_from("a.example.com").unwrap(),
        );
        let certificate = |error| rustls::Error::InvalidCertificate(error);
        let alert = rustls::Error::AlertReceived;
        for (error, expected) in [
            (
                certificate(CertificateError::Expired),
                Some(Distrust::Expired),
            ),
            (
                certificate(CertificateError::ExpiredContext {
                    time,
                    not_after: time,
                }),
                Some(Distrust::Expired),
            ),
            (
                certificate(CertificateError::NotValidYet),
                Some(Distrust::NotYetValid),
            ),
            (
                certificate(CertificateError::NotValidYetContext {
                    time,
                    not_before: time,
                }),
                Some(Distrust::NotYetValid),
            ),
            (
                certificate(CertificateError::UnknownIssuer),
                Some(Distrust::UnknownIssuer),
            ),
            (
                certificate(CertificateError::NotValidForName),
                Some(Distrust::OtherName),
            ),
            (
                certificate(CertificateError::NotValidForNameContext {
                    expected: name(),
                    presented: vec!["expired".to_owned()],
                }),
                Some(Distrust::OtherName),
            ),
            (
                certificate(CertificateError::Revoked),
                Some(Distrust::Certificate),
            ),
            (
                certificate(CertificateError::BadEncoding),
                Some(Distrust::Certificate),
            ),
            (
                rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                Some(Distrust::Disagreed),
            ),
            (
                rustls::Error::NoCertificatesPresented,
                Some(Distrust::Disagreed),
            ),
            (
                alert(AlertDescription::HandshakeFailure),
                Some(Distrust::Disagreed),
            ),
            (
                alert(AlertDescription::ProtocolVersion),
                Some(Distrust::Disagreed),
            ),
            (
                alert(AlertDescription::UnrecognisedName),
                Some(Distrust::Disagreed),
            ),
            (
                alert(AlertDescription::CertificateRequired),
                Some(Distrust::Disagreed),
            ),
            (alert(AlertDescription::CloseNotify), None),
            (alert(AlertDescription::InternalError), None),
            (alert(AlertDescription::UserCanceled), None),
            (alert(AlertDescription::BadRecordMac), None),
            (rustls::Error::DecryptError, None),
            (
                rustls::Error::PeerMisbehaved(PeerMisbehaved::BadCertChainExtensions),
                None,
            ),
            (
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
                None,
            ),
            (
                rustls::Error::General("certificate expired".to_owned()),
                None,
            ),
            (
                rustls::Error::Other(OtherError(std::sync::Arc::new(Words))),
                None,
            ),
        ] {
            let said = error.to_string();
            // As tokio-rustls passes it on.
            let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(Distrust::among(&wrapped), expected, "{said}");
            assert_eq!(
                Distrust::among(&io::Error::other(wrapped)),
                expected,
                "{said}"
            );
        }
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(Distrust::of(&plain, true), Some(Distrust::NotTls));
    }

    #[test]
    fn words_about_tls_are_no_fault_of_tls() {
        let eof = "peer closed connection without sending TLS close_notify";
        for error in [
            io::Error::new(io::ErrorKind::UnexpectedEof, eof),
            io::Error::other(Words),
        ] {
            assert_eq!(Distrust::among(&error), None, "{error}");
        }
    }
}
