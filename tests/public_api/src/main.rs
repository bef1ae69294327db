//! Prints the public items of a crate, one a line, from rustdoc's JSON.

use std::{env, process::ExitCode};

use public_api::{Builder, PublicApi};

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: public_api <rustdoc's JSON>");
        return ExitCode::FAILURE;
    };
    match listing(Builder::from_rustdoc_json(path)) {
        Ok(api) => {
            print!("{api}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("public_api: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Without impls that every type has. Whether a type is `Send`, `Sync` and `Unpin` is in `tests/behaviour/house/auto_traits.rs`.
fn listing(builder: Builder) -> public_api::Result<PublicApi> {
    builder.omit_blanket_impls(true).omit_auto_trait_impls(true).sorted(true).build()
}
