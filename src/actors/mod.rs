//! What runs: the pipelines and what is around them, as actors. One actor a file; a message lives in its receiver's file.
//!
//! [`pipeline`] reads a partition's stream, makes it durable and adds it up; the picture of its flow is there.
//! [`serving`] has the actors that HTTP requests reach. [`export_generator`] generates the files that were asked for.
//! [`housekeeping`] is done once for the process, with no request waiting. [`supervision`] keeps all of them alive.

pub mod export_generator;
pub mod housekeeping;
pub mod pipeline;
pub mod serving;
pub mod supervision;
