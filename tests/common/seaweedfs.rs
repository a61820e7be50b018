//! A real S3 server: SeaweedFS. The tests ask it with curl, which signs its requests itself, so that a fault of the
//! service's client can't hide itself.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::certificates;
use super::process::{Folder, LIMIT, Process, free_ports, remove_at_end, tools, wait_until};

/// The server's four parts listen on four successive ports, and on the same ports plus this number for their own
/// communication.
const GRPC: u16 = 10_000;
const PORTS: [u16; 8] = [0, 1, 2, 3, GRPC, GRPC + 1, GRPC + 2, GRPC + 3];

const READY_CHECK: &str = "ready-check";

/// A server with one administrator and one identity that may only read and list. Everything is removed when it is dropped.
#[derive(Debug)]
pub struct SeaweedFs {
    /// Where clients connect, without a slash at the end.
    pub endpoint: String,
    /// The administrator's key.
    pub access_key: &'static str,
    /// The administrator's secret.
    pub secret_key: &'static str,
    /// The key of the identity that may only read and list.
    pub read_only_access_key: &'static str,
    /// The secret of the identity that may only read and list.
    pub read_only_secret_key: &'static str,
    // These are dropped in this order, so that the server is killed before its folder is removed.
    server: Process,
    folder: Folder,
    files: AtomicU32,
}

impl SeaweedFs {
    /// Starts a server, and waits until it has stored an object, so that all of its parts are up. It uses TLS with the
    /// certificate `good`. Requests of the tests do not check the certificate.
    pub fn start() -> Self {
        let (certificate, key) = (certificates().path("good"), certificates().key());
        Self::start_with(
            "https",
            &[
                format!("-s3.cert.file={}", certificate.display()),
                format!("-s3.key.file={}", key.display()),
            ],
        )
    }

    /// The same without TLS.
    pub fn start_plain() -> Self {
        Self::start_with("http", &[])
    }

    fn start_with(scheme: &str, options: &[String]) -> Self {
        let weed = tools(&["weed"]).join("weed");
        let mut said = String::new();
        for _ in 0..3 {
            let port = free_ports(&PORTS);
            let folder = Folder::in_memory();
            let mut s3 = Self {
                endpoint: format!("{scheme}://127.0.0.1:{port}"),
                access_key: "testkey",
                secret_key: "testsecret",
                read_only_access_key: "readonly",
                read_only_secret_key: "readonly-secret",
                server: launch(&weed, port, &folder, options),
                folder,
                files: AtomicU32::new(0),
            };
            if wait_until("SeaweedFS's start", LIMIT, || s3.progress()) {
                return s3;
            }
            // Probably another test process took one of the ports after they were chosen and before they were used.
            said = s3.server.log().join("\n");
        }
        panic!("SeaweedFS did not start:\n{said}");
    }

    /// The server's process number, for `STOP` and `CONT`.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Creates an empty bucket.
    pub fn create_bucket(&self, name: &str) {
        let (status, body) = self.request("PUT", &format!("/{name}"), None);
        assert_eq!(
            status,
            200,
            "create bucket {name}: {}",
            String::from_utf8_lossy(&body)
        );
    }

    /// Whether there is such a bucket.
    pub fn exists(&self, bucket: &str) -> bool {
        self.request("GET", &format!("/{bucket}?list-type=2"), None)
            .0
            == 200
    }

    /// The key and size of every object, in the order of the keys.
    pub fn list(&self, bucket: &str) -> Vec<(String, u64)> {
        let mut objects = Vec::new();
        let mut query = "list-type=2".to_owned();
        loop {
            let page = self.listing(bucket, &query);
            objects.extend(elements(&page, "Contents").into_iter().map(|object| {
                let size = text(object, "Size").parse().expect("a size");
                (text(object, "Key"), size)
            }));
            if text(&page, "IsTruncated") != "true" {
                objects.sort();
                return objects;
            }
            // The signature covers the query in the order of its names.
            query = format!(
                "continuation-token={}&list-type=2",
                encoded(&text(&page, "NextContinuationToken"))
            );
        }
    }

    /// How many uploads of backups are unfinished. The checks that a daemon makes at its start begin an upload too, for a
    /// moment; they are not counted.
    pub fn backups_begun(&self, bucket: &str) -> usize {
        let uploads = self.uploads(bucket);
        uploads
            .iter()
            .filter(|(key, _)| key.ends_with(".sql.gz"))
            .count()
    }

    /// The key and id of every unfinished upload.
    pub fn uploads(&self, bucket: &str) -> Vec<(String, String)> {
        let page = self.listing(bucket, "uploads=");
        assert_ne!(
            text(&page, "IsTruncated"),
            "true",
            "more unfinished uploads than fit a page"
        );
        let uploads = elements(&page, "Upload").into_iter();
        uploads
            .map(|upload| (text(upload, "Key"), text(upload, "UploadId")))
            .collect()
    }

    /// An object's bytes.
    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        let (status, body) = self.request("GET", &object_path(bucket, key), None);
        assert_eq!(
            status,
            200,
            "get {bucket}/{key}: {}",
            String::from_utf8_lossy(&body)
        );
        body
    }

    /// Stores an object.
    pub fn put(&self, bucket: &str, key: &str, body: &[u8]) {
        let (status, answer) = self.request("PUT", &object_path(bucket, key), Some(body));
        assert_eq!(
            status,
            200,
            "put {bucket}/{key}: {}",
            String::from_utf8_lossy(&answer)
        );
    }

    /// Deletes an object.
    pub fn delete(&self, bucket: &str, key: &str) {
        let (status, answer) = self.request("DELETE", &object_path(bucket, key), None);
        assert_eq!(
            status,
            204,
            "delete {bucket}/{key}: {}",
            String::from_utf8_lossy(&answer)
        );
    }

    /// Begins an upload, leaves it unfinished, and returns its id.
    pub fn begin_upload(&self, bucket: &str, key: &str) -> String {
        let (status, answer) = self.request(
            "POST",
            &format!("{}?uploads=", object_path(bucket, key)),
            Some(b""),
        );
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(status, 200, "begin upload {bucket}/{key}: {answer}");
        text(&answer, "UploadId")
    }

    /// Makes a request that is signed by the administrator, and returns status and body. The status is 0 if there was no
    /// answer.
    pub fn request(
        &self,
        method: &str,
        path_and_query: &str,
        body: Option<&[u8]>,
    ) -> (u16, Vec<u8>) {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let sent = self.folder.path().join(format!("sent-{number}"));
        let received = self.folder.path().join(format!("received-{number}"));
        let mut curl = Command::new("curl");
        // -q ignores the user's settings.
        curl.args([
            "-q",
            "-sk",
            "--noproxy",
            "*",
            "--max-time",
            "60",
            "-X",
            method,
        ]);
        // A key may hold "..". curl 8.14, Debian 13's, can't sign a request with this option.
        if path_and_query.contains("/.") {
            curl.arg("--path-as-is");
        }
        curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user"])
            .arg(format!("{}:{}", self.access_key, self.secret_key));
        // curl 7.88 does not hash a body that it reads from a file.
        curl.args([
            "-H",
            "x-amz-content-sha256: UNSIGNED-PAYLOAD",
            "-w",
            "%{http_code}",
            "-o",
        ])
        .arg(&received);
        if let Some(body) = body {
            std::fs::write(&sent, body).expect("write the body");
            curl.arg("--data-binary")
                .arg(format!("@{}", sent.display()));
            // Without this, curl declares the body a form, and SeaweedFS stores that as the object's type.
            curl.args(["-H", "content-type: application/octet-stream"]);
        }
        curl.arg(format!("{}{path_and_query}", self.endpoint));
        let output = curl.stdin(Stdio::null()).output().expect("start curl");
        let status = String::from_utf8_lossy(&output.stdout)
            .parse()
            .expect("curl prints a status");
        let answer = std::fs::read(&received).unwrap_or_default();
        drop(std::fs::remove_file(sent));
        drop(std::fs::remove_file(received));
        (status, answer)
    }

    fn listing(&self, bucket: &str, query: &str) -> String {
        let (status, body) = self.request("GET", &format!("/{bucket}?{query}"), None);
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 200, "list {bucket}: {body}");
        body
    }

    /// `Some(true)` once an object was stored, `Some(false)` if the server has ended. An open port is not enough, because
    /// the parts start one by one.
    fn progress(&mut self) -> Option<bool> {
        if !self.server.running() {
            return Some(false);
        }
        let bucket = format!("/{READY_CHECK}");
        let object = format!("{bucket}/object");
        let made = matches!(self.request("PUT", &bucket, None).0, 200 | 409);
        if !made || self.request("PUT", &object, Some(b"ready")).0 != 200 {
            return None;
        }
        self.request("DELETE", &object, None);
        self.request("DELETE", &bucket, None);
        Some(true)
    }
}

fn launch(weed: &Path, port: u16, folder: &Folder, options: &[String]) -> Process {
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("create the data folder");
    let identities = folder.path().join("identities.json");
    let known = r#"{"identities": [
        {"name": "admin", "credentials": [{"accessKey": "testkey", "secretKey": "testsecret"}],
         "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
        {"name": "readonly", "credentials": [{"accessKey": "readonly", "secretKey": "readonly-secret"}],
         "actions": ["Read", "List"]}]}"#;
    std::fs::write(&identities, known).expect("write the identities");

    // After SIGTERM it does not end for minutes. `Process` sends SIGKILL.
    let mut command = Process::command(weed);
    command.current_dir(folder.path());
    // Without this a request for x-amz-server-side-encryption: AES256 is answered with 500.
    command.env("WEED_S3_SSE_KEY", "test-sse-key-0123456789abcdef");
    command
        .args(["-logtostderr=true", "server"])
        .arg(format!("-dir={}", data.display()));
    command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
    command
        .arg(format!("-s3.port={port}"))
        .arg(format!("-master.port={}", port + 1));
    command
        .arg(format!("-volume.port={}", port + 2))
        .arg(format!("-filer.port={}", port + 3));
    command.args([
        "-master.peers=none",
        // Every bucket needs several volumes. With 0, their number depends on the free disk. Then they ran out after about
        // forty buckets, and every further upload was answered with 500.
        "-master.volumeSizeLimitMB=256",
        "-volume.max=5000",
        "-volume.preStopSeconds=0",
    ]);
    // By default it reports to its developers.
    command.arg("-master.telemetry=false");
    command.args([
        "-s3",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]);
    // By default, an administrator's upload into a missing bucket creates the bucket, and a bucket with objects can be
    // deleted.
    command.args([
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
    ]);
    // When it is killed, it leaves its sockets behind. Only two of them can be put into another folder.
    for part in ["s3", "filer"] {
        command.arg(format!(
            "-{part}.localSocket={}",
            folder.path().join(part).display()
        ));
    }
    for (part, port) in ["s3", "master", "volume", "filer"]
        .iter()
        .zip(port + GRPC..)
    {
        remove_at_end(&format!("/tmp/seaweedfs-{part}-grpc-{port}.sock"));
    }
    command
        .arg(format!("-s3.config={}", identities.display()))
        .args(options);
    Process::spawn(command)
}

fn object_path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", encoded(key).replace("%2F", "/"))
}

/// The encoding that a signature needs: everything except what is never encoded in a URL.
fn encoded(text: &str) -> String {
    const SIGNED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(text, SIGNED).to_string()
}

/// The content of each `<name>` in an S3 answer, which is XML without attributes where it matters.
fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(&close)?.0))
        .collect()
}

/// The text of the first `<name>`, empty if there is none.
fn text(xml: &str, name: &str) -> String {
    let raw = elements(xml, name).first().copied().unwrap_or_default();
    let quotes = raw
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#39;", "'");
    quotes
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}
