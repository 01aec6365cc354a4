//! What of reading streams is AMQP 0.9.1's own. Connecting, declaring and publishing are in the folder above, since they use no
//! other protocol.

pub mod glance;
pub mod subscription;
