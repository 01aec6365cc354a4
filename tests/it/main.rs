//! Tests against the real servers of `make stack`: one binary, one world (database, stream, process) a test.

mod harness;
mod layout;
mod pipeline_exact;
mod pipeline_rejects;
mod store_commit;
