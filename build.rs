//! A new migration must be compiled in although no source file changed, and a new file of the console where these are embedded.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    // Other builds read the console from the disk.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed=console");
    }
}
