//! Compiles the C side of the binding with the header that is installed, and links the library that belongs to it. Debian has
//! both in `libisal-dev`. If they are not in the system's folders, `ISAL_PREFIX` names the folder that holds `include` and
//! `lib`.

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=src/igzip.c");
    println!("cargo::rerun-if-env-changed=ISAL_PREFIX");
    let mut build = cc::Build::new();
    build
        .file("src/igzip.c")
        .std("c11")
        .warnings_into_errors(true);
    if let Some(prefix) = env::var_os("ISAL_PREFIX").map(PathBuf::from) {
        build.include(prefix.join("include"));
        for folder in library_folders(&prefix.join("lib")) {
            println!("cargo::rustc-link-search=native={}", folder.display());
        }
    }
    if let Err(error) = build.try_compile("igzip_binding") {
        println!(
            "cargo::error=ISA-L's header isa-l/igzip_lib.h could not be compiled against: {error}"
        );
        println!(
            "cargo::error=Install Debian's libisal-dev, or set ISAL_PREFIX to the folder that holds its include and lib, or build without the feature isal."
        );
        return;
    }
    println!("cargo::rustc-link-lib=dylib=isal");
}

/// Debian keeps libraries one folder deeper, in one that is named after the processor.
fn library_folders(lib: &Path) -> Vec<PathBuf> {
    let Some(architecture) = env::var_os("CARGO_CFG_TARGET_ARCH") else {
        return Vec::new();
    };
    let mut deeper = architecture;
    deeper.push("-linux-gnu");
    [lib.to_owned(), lib.join(deeper)]
        .into_iter()
        .filter(|folder| folder.is_dir())
        .collect()
}
