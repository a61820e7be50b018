//! Asks a server for the SQLSTATE with which it refuses a connection, if its message is in a language that is not known here.
//!
//! libpq shows a server's message and not its code, and the message about a wrong password is another one in German than in
//! English. So if the message is not known, this service opens one connection by itself, goes as far as the server's refusal,
//! and reads the code in it. This connection is not used for any work: it sends only what libpq has just sent to the same
//! server, and never the password itself, only the proof of it. If libpq was to verify the server's certificate, this is not
//! tried at all.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::DatabaseUrl;

/// How long all of this may take.
const LIMIT: Duration = Duration::from_secs(15);

/// The longest message before there is a session.
const MESSAGE_BYTES: usize = 64 * 1024;

/// The most iterations of the password's hash. Servers ask for 4096; a server that asks for more than this wants to waste our
/// time.
const MOST_ITERATIONS: u32 = 100_000;

/// The code with which the first server that answers refuses this user; `None` if it does not refuse, or if the code can't be
/// found out.
pub(super) async fn of_refusal(url: &DatabaseUrl) -> Option<String> {
    let asked = async {
        for (host, port) in url.addresses() {
            if let Some(code) = ask(url, &host, port).await {
                return Some(code);
            }
        }
        None
    };
    tokio::select! {
        code = asked => code,
        () = tokio::time::sleep(LIMIT) => None,
    }
}

async fn ask(url: &DatabaseUrl, host: &str, port: u16) -> Option<String> {
    let encrypted = match url.parameter("sslmode") {
        Some("disable" | "allow") => false,
        None | Some("prefer" | "require") => true,
        Some(_) => return None,
    };
    let other_ways = [
        "sslnegotiation",
        "sslcert",
        "require_auth",
        "channel_binding",
    ];
    if other_ways.iter().any(|name| url.parameter(name).is_some()) {
        return None;
    }
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    if !encrypted {
        return converse(stream, url).await;
    }
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.ok()?;
    match stream.read_u8().await.ok()? {
        b'S' => {
            let connector = TlsConnector::from(Arc::new(unverified()?));
            let name = ServerName::try_from(host.to_owned()).ok()?;
            converse(connector.connect(name, stream).await.ok()?, url).await
        }
        b'N' if url.parameter("sslmode") != Some("require") => converse(stream, url).await,
        b'E' => fields_code(&read_body(&mut stream).await?),
        _ => None,
    }
}

/// Logs in as far as the server lets it, and returns the code of its refusal.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &DatabaseUrl,
) -> Option<String> {
    let mut start = vec![0, 3, 0, 0];
    for (name, value) in [
        ("user", url.user()),
        ("database", url.database()),
        ("application_name", "postgres-s3-backups"),
    ] {
        start.extend([name.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
    }
    start.push(0);
    stream.write_all(&framed(None, &start)?).await.ok()?;
    let mut login = None;
    loop {
        let kind = stream.read_u8().await.ok()?;
        let body = read_body(&mut stream).await?;
        match kind {
            b'E' => return fields_code(&body),
            b'R' => {
                let (method, rest) = body.split_first_chunk()?;
                let answer = match i32::from_be_bytes(*method) {
                    0 | 12 => continue,
                    5 => md5_answer(url, rest)?,
                    10 => {
                        let scram = Scram::new(url)?;
                        let first = scram.first();
                        login = Some(scram);
                        first
                    }
                    11 => login.as_ref()?.last(std::str::from_utf8(rest).ok()?)?,
                    // Any other method wants the password itself, or something that only libpq has.
                    _ => return None,
                };
                stream.write_all(&framed(Some(b'p'), &answer)?).await.ok()?;
            }
            // There is a session, so the server does not refuse this user now.
            b'Z' => return None,
            _ => {}
        }
    }
}

/// A message with its length in front. The length counts its own bytes too.
fn framed(kind: Option<u8>, body: &[u8]) -> Option<Vec<u8>> {
    let length = i32::try_from(body.len()).ok()?.checked_add(4)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend(length.to_be_bytes());
    message.extend(body);
    Some(message)
}

async fn read_body(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let length = usize::try_from(stream.read_i32().await.ok()?).ok()?;
    let length = length
        .checked_sub(4)
        .filter(|length| *length <= MESSAGE_BYTES)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

/// The code among the fields of an error.
fn fields_code(body: &[u8]) -> Option<String> {
    let code = body
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"C"))?;
    let is_code = code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric);
    is_code.then(|| String::from_utf8_lossy(code).into_owned())
}

fn md5_answer(url: &DatabaseUrl, salt: &[u8]) -> Option<Vec<u8>> {
    let hex = |pieces: [&[u8]; 2]| {
        let digest = Md5::digest(pieces.concat());
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let password = url.password()?.expose();
    let inner = hex([password.as_bytes(), url.user().as_bytes()]);
    let outer = hex([inner.as_bytes(), salt.get(..4)?]);
    Some(format!("md5{outer}\0").into_bytes())
}

/// A login by SCRAM-SHA-256 (RFC 5802 and 7677), without channel binding.
struct Scram {
    password: String,
    nonce: String,
}

impl Scram {
    /// `None` without a password, or with one that would have to be normalised first.
    fn new(url: &DatabaseUrl) -> Option<Self> {
        let password = url.password()?.expose();
        password.is_ascii().then_some(())?;
        Some(Self {
            password: password.to_owned(),
            nonce: super::random_key().ok()?,
        })
    }

    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    fn first(&self) -> Vec<u8> {
        let message = format!("n,,{}", self.bare());
        let length = u32::try_from(message.len()).unwrap_or_default();
        [
            b"SCRAM-SHA-256\0",
            length.to_be_bytes().as_slice(),
            message.as_bytes(),
        ]
        .concat()
    }

    fn last(&self, server: &str) -> Option<Vec<u8>> {
        let field = |name: &str| server.split(',').find_map(|field| field.strip_prefix(name));
        let nonce = field("r=").filter(|nonce| nonce.starts_with(&self.nonce))?;
        let salt = BASE64.decode(field("s=")?).ok()?;
        let iterations: u32 = field("i=")?.parse().ok()?;
        if iterations > MOST_ITERATIONS {
            return None;
        }
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server},{without_proof}", self.bare());
        let salted = salted(self.password.as_bytes(), &salt, iterations)?;
        let key = mac(&salted, &[b"Client Key"])?;
        let signature = mac(&Sha256::digest(key), &[signed.as_bytes()])?;
        let proof: Vec<u8> = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        Some(format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes())
    }
}

fn mac(key: &[u8], pieces: &[&[u8]]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for piece in pieces {
        mac.update(piece);
    }
    Some(mac.finalize().into_bytes().into())
}

/// PBKDF2 of one block.
fn salted(password: &[u8], salt: &[u8], iterations: u32) -> Option<[u8; 32]> {
    let mut last = mac(password, &[salt, &[0, 0, 0, 1]])?;
    let mut sum = last;
    for _ in 1..iterations {
        last = mac(password, &[&last])?;
        for (sum, byte) in sum.iter_mut().zip(last) {
            *sum ^= byte;
        }
    }
    Some(sum)
}

/// TLS without a check of the certificate, as with `sslmode=require` and `prefer`.
fn unverified() -> Option<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Unverified(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?;
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Some(config.with_no_client_auth())
}

#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_the_standard() {
        // The example of RFC 7677, whose user has a name; PostgreSQL takes it from the beginning of the session instead.
        let password = salted(
            b"pencil",
            &BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            4096,
        );
        let key = mac(&password.unwrap(), &[b"Client Key"]).unwrap();
        let signed = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = mac(&Sha256::digest(key), &[signed.as_bytes()]).unwrap();
        let proof: Vec<u8> = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(
            BASE64.encode(proof),
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
    }

    #[test]
    fn a_code_is_five_signs_and_nothing_else() {
        assert_eq!(
            fields_code(b"SFATAL\0VFATAL\0C28P01\0MPasswort\0\0").as_deref(),
            Some("28P01")
        );
        for body in [&b""[..], b"C28P0\0", b"C28P0\x1b\0", b"MC28P01\0"] {
            assert_eq!(fields_code(body), None, "{body:?}");
        }
    }
}
