//! The decoder alone, out of the service's source: without the rest of it a build takes seconds.

#[path = "../src/domain"]
pub mod domain {
    pub mod trace;
}

#[path = "../src/broker"]
pub mod broker {
    mod publish_time;

    pub mod stream {
        pub mod chunk;
        pub mod message;
        mod value;
    }
}
