//! A real nginx before a store, with TLS and nginx's default limits.

use std::net::TcpStream;

use super::certificates;
use super::process::{Folder, LIMIT, Process, free_port, tools, wait_until};

/// It ends when it is dropped.
#[derive(Debug)]
pub struct Nginx {
    /// Where clients connect.
    pub endpoint: String,
    process: Process,
    folder: Folder,
}

impl Nginx {
    /// Starts one that passes everything on to a store. `settings` are added to its configuration.
    pub fn in_front_of(store: &str, settings: &str) -> Self {
        let folder = Folder::new();
        let (here, port) = (folder.path().display(), free_port());
        let (certificate, key) = (certificates().path("good"), certificates().key());
        let (certificate, key) = (certificate.display(), key.display());
        let text = format!(
            "daemon off; master_process off; pid {here}/pid; error_log stderr;
             events {{}}
             http {{
                 access_log off;
                 client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;
                 fastcgi_temp_path {here}/fastcgi; uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
                 server {{
                     listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
                     {settings}
                     location / {{ proxy_pass {store}; proxy_set_header Host $http_host; }}
                 }}
             }}\n"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, text).expect("write the settings");
        let mut command = Process::command(tools(&["nginx"]).join("nginx/nginx"));
        command.args(["-e", "stderr", "-p"]).arg(folder.path());
        let mut process = Process::spawn({
            command.arg("-c").arg(&path);
            command
        });
        wait_until("nginx's port", LIMIT, || {
            assert!(process.running(), "{}", process.log().join("\n"));
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self {
            endpoint: format!("https://127.0.0.1:{port}"),
            process,
            folder,
        }
    }
}
