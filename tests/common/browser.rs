//! Chromium without a window, controlled through chromedriver by the W3C's WebDriver protocol: JSON over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::process::{Folder, LIMIT, Process, free_port, tools, wait_until};

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    session: String,
    port: u16,
    _driver: Process,
    _profile: Folder,
}

impl Browser {
    /// Starts a browser.
    pub fn start() -> Self {
        let programs = tools(&["chromium"]).join("chromium");
        let (port, profile) = (free_port(), Folder::new());
        let mut command = Process::command(programs.join("chromedriver"));
        command
            .arg(format!("--port={port}"))
            .env("HOME", profile.path());
        let driver = Process::spawn(command);
        let mut browser = Self {
            session: String::new(),
            port,
            _driver: driver,
            _profile: profile,
        };
        wait_until("chromedriver", LIMIT, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let data = format!("--user-data-dir={}", browser._profile.path().display());
        let started = browser.call("POST", "/session", &json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            // With a pipe, the browser ends with its driver, however that ends. The browser's sandbox refuses to run as
            // root.
            "goog:chromeOptions": {"binary": programs.join("chromium"), "args": ["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", data]},
        }}}));
        let id = started["sessionId"].as_str().unwrap();
        browser.session = format!("/session/{id}");
        browser
    }

    /// Opens an address and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page and returns what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Sets the size of the window, such as that of a phone or a desktop.
    pub fn resize(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Sets the colour scheme that the person prefers: `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// Clicks on the one element that a selector names.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types keys into the element that has the focus. Special keys have WebDriver's numbers.
    pub fn press(&self, keys: &[&str]) {
        let down = keys
            .iter()
            .map(|key| json!({"type": "keyDown", "value": key}));
        let up = keys
            .iter()
            .rev()
            .map(|key| json!({"type": "keyUp", "value": key}));
        let actions: Vec<Value> = down.chain(up).collect();
        self.post(
            "/actions",
            &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}),
        );
    }

    /// Everything that was written to the page's console, including the browser's own complaints.
    pub fn console(&self) -> Vec<Value> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        log.as_array().unwrap().clone()
    }

    /// Saves a picture of the whole page, as PNG.
    pub fn picture(&self, path: &Path) {
        self.picture_as("png", path);
    }

    /// The same in that format.
    pub fn picture_as(&self, format: &str, path: &Path) {
        let mut how = json!({"captureBeyondViewport": true, "format": format});
        if format != "png" {
            how["quality"] = 82.into();
        }
        let answer = self.devtools("Page.captureScreenshot", &how);
        let png = BASE64.decode(answer["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, png).unwrap();
    }

    /// Sends a command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    fn find(&self, selector: &str) -> String {
        let found = self.post(
            "/element",
            &json!({"using": "css selector", "value": selector}),
        );
        let mut ids = found.as_object().unwrap().values();
        ids.next().unwrap().as_str().unwrap().to_owned()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self
            .request(method, path, &body.to_string())
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(
            head.starts_with("HTTP/1.1 200"),
            "{path} {body}:\n{head}\n{text}"
        );
        let mut json: Value = serde_json::from_str(text).unwrap();
        json["value"].take()
    }

    fn request(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let length = body.len();
        let port = self.port;
        stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").as_bytes())?;
        // The driver does not close the connection, even if it is asked to.
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
            answer.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        stream.take(length.unwrap_or(0)).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session may be gone already.
        drop(self.request("DELETE", &self.session, ""));
    }
}
