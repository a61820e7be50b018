//! Confines the programs that run a stranger's code, so that they can't reach anything that belongs to this service.
//!
//! A restore runs the code in its backup: functions in checks and indexes and, where the restore's user is a superuser, any
//! program on the server's machine. In an embedded drill the server is a child of this service and runs as the same user. It
//! could read this process's environment, and so the keys to the bucket and to the database. That is why such a program is
//! started by way of this program, which first gives up, for ever, all rights that the other program must not have, and then
//! becomes it.
//!
//! The kernel does the confining: a process gives up rights that neither it nor its children can get back. That needs no
//! privilege, and works in a container. Landlock takes away files, signals, and access to the memory of other processes. A
//! filter of system calls (seccomp) takes away all sockets except Unix ones, which the drill's clients use, and the calls
//! that change the limits of other processes. Otherwise the code in a backup could send a copy of the whole database
//! anywhere.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::running;

/// What a program may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// The one folder it may write to.
    pub folder: PathBuf,
    /// The user that it runs as, if that is not this process's user.
    pub user: Option<u32>,
    /// Whether the kernel confines it. If not, it is an ordinary child; that happens only if the operator allowed it.
    pub enforced: bool,
}

/// The system's libraries and what they read. Only single files of `/etc` are listed, since secrets may be mounted there.
const SYSTEM: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/lib",
    "/usr/share",
    "/usr/local/share",
    "/bin/sh",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/ssl/openssl.cnf",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// The newest version of Landlock whose rights are given up, if the kernel knows them.
const NEWEST: ABI = ABI::V9;

/// Whether this kernel can confine a program's access to files, which is the minimum that is required.
#[must_use]
pub fn is_possible() -> bool {
    rights().and_then(Ruleset::create).is_ok()
}

/// The rights that are given up: those to files always, and the others if the kernel knows them.
fn rights() -> Result<Ruleset, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))
}

impl Confined {
    /// Whether this process stays and watches the program.
    #[must_use]
    pub const fn watches(&self) -> bool {
        self.watch.is_some()
    }
}

impl Confinement {
    /// A command for a server. Nothing that the server starts outlives it or this process. SIGQUIT ends it.
    #[must_use]
    pub fn server(&self, programs: &Path, name: &str) -> Command {
        self.any(programs, name, true)
    }

    /// A command for one of the programs in a folder. It may read and run everything in that folder, and the libraries and
    /// files that belong to it. Its environment is empty.
    #[must_use]
    pub fn command(&self, programs: &Path, name: &str) -> Command {
        self.any(programs, name, false)
    }

    fn any(&self, programs: &Path, name: &str, watch: bool) -> Command {
        let program = programs.join(name);
        let mut command = if self.enforced {
            // This link is used because another user may not be allowed to enter the folder of this program.
            let mut command = Command::new("/proc/self/exe");
            command.arg(SUBCOMMAND);
            if watch {
                command.arg("--watch").arg(process::id().to_string());
            }
            // The folder may hold links to programs in other folders.
            let real = program.canonicalize();
            let real = real.ok().and_then(|path| path.parent().map(Path::to_owned));
            for folder in [Some(programs.to_owned()), real].into_iter().flatten() {
                for beside in ["lib", "share"] {
                    command.arg("--program").arg(folder.with_file_name(beside));
                }
                command.arg("--program").arg(folder);
            }
            command.arg("--folder").arg(&self.folder);
            command.arg("--").arg(program);
            command
        } else {
            Command::new(program)
        };
        // Ctrl-C at a terminal reaches the whole process group. This process decides when its children end, so they get a
        // group of their own.
        command.env_clear().process_group(0);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }
}

/// The name of the command that [`enter`] carries out.
const SUBCOMMAND: &str = "confined";

/// The arguments of the command `confined`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Confined {
    /// Watch the program, and make sure that nothing it starts outlives it or the process with this number, which started it
    #[arg(long, value_name = "PROCESS")]
    watch: Option<u32>,
    /// A folder with programs that may be read and run
    #[arg(long)]
    program: Vec<PathBuf>,
    /// The folder that may be written to
    #[arg(long)]
    folder: PathBuf,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// How long to wait between two checks whether the service still runs.
const LOOK: Duration = Duration::from_millis(200);

/// How long a server may take to end when it is told to, and the same for what it started.
const ENDING: Duration = Duration::from_secs(5);

/// Starts the program, confined, and watches it. What it starts can leave its process group and its session, but can't
/// escape from this process: a process that loses its parent becomes a child of this one, and is ended with the program.
///
/// # Errors
/// When it can't be started.
pub fn watch(confined: &Confined) -> io::Result<()> {
    let service = confined
        .watch
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    set_child_subreaper(Some(getpid()))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut command = Command::new("/proc/self/exe");
            command.arg(SUBCOMMAND);
            for folder in &confined.program {
                command.arg("--program").arg(folder);
            }
            command.arg("--folder").arg(&confined.folder).arg("--");
            command.args(&confined.command).kill_on_drop(true);
            let (mut quit, mut terminate) = (
                signal(SignalKind::quit())?,
                signal(SignalKind::terminate())?,
            );
            let mut child = command.spawn()?;
            let mut look = tokio::time::interval(LOOK);
            loop {
                tokio::select! {
                    _ = child.wait() => break,
                    _ = quit.recv() => {}
                    _ = terminate.recv() => {}
                    _ = look.tick() => if getppid() == service { continue },
                }
                running::stop(&mut child, "the program", Signal::QUIT, ENDING).await;
                break;
            }
            Ok::<(), io::Error>(())
        })?;
    end_children();
    Ok(())
}

/// Ends the processes that the program left behind, and those that they leave behind, until there are none.
fn end_children() {
    let began = Instant::now();
    while began.elapsed() < ENDING {
        let mut list = String::new();
        let tasks = std::fs::read_dir("/proc/self/task");
        for task in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            list.push_str(&children.unwrap_or_default());
            list.push(' ');
        }
        for id in list.split_whitespace() {
            if let Some(id) = id.parse().ok().and_then(Pid::from_raw) {
                kill_process(id, Signal::KILL).ok();
            }
        }
        // An error means that no child is left.
        while let Ok(ended) = wait(WaitOptions::NOHANG) {
            if ended.is_none() {
                break;
            }
        }
        if wait(WaitOptions::NOHANG).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Gives up everything that the arguments don't name, and becomes the program. It returns only if that failed.
///
/// It must be called before this process has a second thread, because other threads would keep their rights.
#[must_use]
pub fn enter(confined: &Confined) -> io::Error {
    let Some((program, arguments)) = confined.command.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Err(error) = give_up(confined) {
        return error;
    }
    process::Command::new(program).args(arguments).exec()
}

fn give_up(confined: &Confined) -> io::Result<()> {
    // A server must not outlive the drill that started it. At this signal PostgreSQL stops at once.
    set_parent_process_death_signal(Some(Signal::QUIT))?;
    // Descriptors other than the standard streams that this process inherited by mistake are closed.
    close_fds::set_fds_cloexec(3, &[]);
    // A restricted process can't gain privileges from the programs that it runs either.
    rules(confined)
        .and_then(RulesetCreated::restrict_self)
        .map_err(io::Error::other)?;
    let filter = refused_calls().map_err(io::Error::other)?;
    seccompiler::apply_filter(&filter).map_err(io::Error::other)
}

/// Refuses every way to make a socket that is not a Unix one, and every call that changes the limits or the scheduling of
/// another process of the same user, such as this service.
fn refused_calls() -> Result<BpfProgram, seccompiler::BackendError> {
    /// The bit that marks calls of x32, the second set of system calls on x86-64, which few kernels have.
    const X32: i64 = 0x4000_0000;
    let unless = |argument: u8, allowed: u64| -> Result<_, seccompiler::BackendError> {
        let (length, is_not) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Ne);
        let condition = SeccompCondition::new(argument, length, is_not, allowed)?;
        Ok(vec![SeccompRule::new(vec![condition])?])
    };
    let unix = u64::try_from(libc::AF_UNIX).unwrap_or_default();
    // 0 stands for the process itself.
    let rules = [
        (libc::SYS_socket, unless(0, unix)?),
        // This can make sockets too, and the filter would not see it.
        (libc::SYS_io_uring_setup, Vec::new()),
        (libc::SYS_prlimit64, unless(0, 0)?),
        (libc::SYS_setpriority, unless(1, 0)?),
        (libc::SYS_ioprio_set, unless(1, 0)?),
        (libc::SYS_sched_setaffinity, unless(0, 0)?),
        (libc::SYS_sched_setscheduler, unless(0, 0)?),
        (libc::SYS_sched_setparam, unless(0, 0)?),
        (libc::SYS_sched_setattr, unless(0, 0)?),
        (libc::SYS_process_madvise, Vec::new()),
        (libc::SYS_migrate_pages, unless(0, 0)?),
        (libc::SYS_move_pages, unless(0, 0)?),
    ];
    let second = rules.iter().map(|(call, _)| (X32 | call, Vec::new()));
    let second: Vec<_> = second.collect();
    let refused = u32::try_from(libc::EACCES).unwrap_or_default();
    SeccompFilter::new(
        rules.into_iter().chain(second).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(refused),
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

fn rules(confined: &Confined) -> Result<RulesetCreated, RulesetError> {
    let run = AccessFs::from_read(NEWEST);
    let write: BitFlags<AccessFs> = AccessFs::from_all(NEWEST) & !AccessFs::Execute;
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    rights()?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, run))?
        .add_rules(path_beneath_rules(&confined.program, run))?
        .add_rules(path_beneath_rules(["/dev/null"], device))?
        .add_rules(path_beneath_rules([&confined.folder], write))
}
