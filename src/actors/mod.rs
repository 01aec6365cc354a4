//! The actors: the pipeline of each partition, and those that answer questions. One actor a file; a message lives in
//! its receiver's file.

pub mod query;
