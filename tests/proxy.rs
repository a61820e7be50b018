//! Connections through a proxy, which the usual variables name.

use crate::common::forward::Forward;
use crate::common::process::{LIMIT, free_port};
use crate::common::receiver::Receiver;
use crate::common::seaweedfs::SeaweedFs;
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs, unique};

/// `user:canary-password`
const BASIC: &str = "dXNlcjpjYW5hcnktcGFzc3dvcmQ=";

fn url(proxy: &Forward) -> String {
    format!("http://user:canary-password@127.0.0.1:{}", proxy.port)
}

#[test]
fn the_store_the_alerts_and_the_heartbeats_go_through_the_proxy() {
    let store = seaweedfs();
    let bucket = unique("proxy");
    store.create_bucket(&bucket);
    let heartbeat = Receiver::start();
    let proxy = Forward::start(BASIC);
    let variables = Variables::working(store, &bucket, &postgres().url("postgres"))
        .with("HEARTBEAT_URL", &heartbeat.url())
        .with("HTTPS_PROXY", &url(&proxy));
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert!(ended.events("heartbeat not delivered").is_empty());
    assert!(!ended.text().contains("canary"), "{}", ended.text());
    heartbeat.wait_for(1);
    let asked = proxy.asked();
    for address in [&store.endpoint, &heartbeat.url()] {
        let address = address.strip_prefix("https://").unwrap();
        let authority = address.split('/').next().unwrap();
        let line = format!("CONNECT {authority} HTTP/1.1");
        assert!(asked.contains(&line), "{line}: {asked:?}");
    }

    // Hosts that are exceptions are reached without it.
    let before = proxy.asked().len();
    let excepted = variables.clone().with("no_proxy", "example.com,127.0.0.1");
    let ended = Service::backup(&excepted);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    assert_eq!(proxy.asked().len(), before);

    // If the proxy can't be reached, the service does not connect without it.
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let failing = Service::start(&variables.with("HTTPS_PROXY", &nobody), &["list"]).end(LIMIT);
    assert_eq!(failing.code(), Some(1));
}

#[test]
fn plain_addresses_go_through_the_proxy_for_them() {
    let store = SeaweedFs::start_plain();
    let bucket = unique("proxy");
    store.create_bucket(&bucket);
    let heartbeat = Receiver::start_plain();
    let proxy = Forward::start(BASIC);
    let variables = Variables::working(&store, &bucket, &postgres().url("postgres"))
        .with("HEARTBEAT_URL", &heartbeat.url())
        .with("http_proxy", &url(&proxy));
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    heartbeat.wait_for(1);
    let asked = proxy.asked();
    for address in [&store.endpoint, &heartbeat.url()] {
        assert!(
            asked.iter().any(|line| line.contains(address.as_str())),
            "{address}: {asked:?}"
        );
    }
}

#[test]
fn a_proxy_that_can_not_be_used_is_refused_by_name() {
    for (name, value, word) in [
        ("ALL_PROXY", "socks5://canary.internal:1080", "SOCKS"),
        ("https_proxy", "https://canary.internal", "over TLS"),
        ("HTTP_PROXY", "http://canary:x:y", "not the URL of a proxy"),
    ] {
        let variables = Variables::working(
            seaweedfs(),
            "some-bucket",
            "postgres://u:testpass@127.0.0.1:1/d",
        );
        let ended = Service::daemon(&variables.with(name, value)).end(LIMIT);
        assert_eq!(ended.code(), Some(2), "{}", ended.text());
        let refused = ended.event("invalid configuration");
        assert_eq!(refused["variable"], name);
        assert!(refused["error"].as_str().unwrap().contains(word));
        assert!(!ended.text().contains("canary"), "{}", ended.text());
    }
}
