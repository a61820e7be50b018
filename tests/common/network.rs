//! A separate network for one service, in which packets can be made to vanish, as they do when a router loses its state:
//! neither side gets an answer or an error.

use std::net::Ipv4Addr;
use std::process::Command;

use super::process::{LIMIT, Process, random, tools, wait_until};

/// A network namespace, which ends with the process that holds it.
#[derive(Debug)]
pub struct Network {
    holder: Process,
}

/// A cable between this machine's own network and a namespace.
#[derive(Debug)]
pub struct Wire {
    holder: u32,
    device: String,
    /// The address at this machine's end: servers that the service is to reach listen on it.
    pub here: Ipv4Addr,
    there: Ipv4Addr,
}

impl Network {
    /// Makes an empty namespace. That needs root, with the capability to administrate networks.
    pub fn new() -> Self {
        tools(&["ip"]);
        let own = std::fs::read_link("/proc/self/ns/net").expect("read a link of /proc");
        let mut command = Process::command("/usr/bin/unshare");
        command.args(["--net", "--", "/bin/sleep", "3600"]);
        let mut holder = Process::spawn(command);
        let namespace = format!("/proc/{}/ns/net", holder.id());
        wait_until("a network namespace", LIMIT, || {
            assert!(
                holder.running(),
                "these tests cut a network, for which they must run as root with CAP_NET_ADMIN and CAP_SYS_ADMIN \
                 (docs/testing.md says how to leave them out):\n{}",
                holder.log().join("\n")
            );
            std::fs::read_link(&namespace)
                .is_ok_and(|link| link != own)
                .then_some(())
        });
        Self { holder }
    }

    /// A program in this namespace, for [`super::service::Service::start_by`].
    pub fn command(&self, program: &str) -> Command {
        let mut command = Process::command("/usr/bin/nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            .args(["--", program]);
        command
    }

    /// Connects the namespace with this machine. The addresses are from the range for benchmarks, which is routed nowhere.
    pub fn wire(&self) -> Wire {
        let number = random();
        let device = format!("psb{:x}", number & 0xff_ffff);
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0))
            + u32::try_from(number % 0x8000).expect("15 bits") * 4;
        let wire = Wire {
            holder: self.holder.id(),
            here: Ipv4Addr::from(base + 1),
            there: Ipv4Addr::from(base + 2),
            device,
        };
        let (device, holder) = (&wire.device, wire.holder);
        ip(&format!(
            "link add {device} type veth peer name {device} netns {holder}"
        ));
        ip(&format!("addr add {}/30 dev {device}", wire.here));
        ip(&format!("link set {device} up"));
        wire.inside(&["addr", "add", &format!("{}/30", wire.there), "dev", device]);
        wire.inside(&["link", "set", device, "up"]);
        wire
    }
}

impl Wire {
    /// From now on nothing arrives in either direction: each end sends to a link-layer address that does not exist.
    pub fn cut(&self) {
        let neighbour = |address: Ipv4Addr| {
            format!(
                "neigh replace {address} lladdr 02:00:00:00:00:01 dev {} nud permanent",
                self.device
            )
        };
        ip(&neighbour(self.there));
        self.inside(&neighbour(self.here).split(' ').collect::<Vec<_>>());
    }

    /// From now on everything arrives again.
    pub fn mend(&self) {
        let neighbour = |address: Ipv4Addr| format!("neigh del {address} dev {}", self.device);
        ip(&neighbour(self.there));
        self.inside(&neighbour(self.here).split(' ').collect::<Vec<_>>());
    }

    fn inside(&self, arguments: &[&str]) {
        let mut command = Command::new("/usr/bin/nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder))
            .args(["--", "ip"])
            .args(arguments);
        run(command);
    }
}

fn ip(arguments: &str) {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    run(command);
}

fn run(mut command: Command) {
    let output = command.output().expect("start ip");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
