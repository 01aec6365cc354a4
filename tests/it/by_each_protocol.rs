//! Tests that hold whatever the protocol that streams are read by.

/// Makes two tests of each function that takes a [`Protocol`].
macro_rules! by_each_protocol {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                use crate::harness::Protocol;

                #[tokio::test]
                async fn by_amqp() {
                    super::$name(Protocol::Amqp).await;
                }

                #[tokio::test]
                async fn by_the_stream_protocol() {
                    super::$name(Protocol::Stream).await;
                }
            }
        )+
    };
}

pub(crate) use by_each_protocol;
