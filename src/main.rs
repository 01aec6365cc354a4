use std::process::ExitCode;

fn main() -> ExitCode {
    analytics_service::cli::main()
}
