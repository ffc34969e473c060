//! The program: the environment goes in, an exit code comes out.

use std::process::ExitCode;

fn main() -> ExitCode {
    balehook::app::main(std::env::args_os().collect(), std::env::vars_os().collect())
}
