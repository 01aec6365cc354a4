//! Parameters of a statement as a struct that binds itself, for statements that have more than a few.
//!
//! ```text
//! bound! {
//!     /// Of partition_reset.sql.
//!     struct Reset { stream: String, partition: i32 }
//! }
//! sqlx::query_with(include_str!("sql/partition_reset.sql"), Reset { stream, partition }.arguments()?)
//! ```
//!
//! The fields stand in the order of the statement's numbers: the first is $1. What is bound afterwards comes behind them.

macro_rules! bound {
    (
        $(#[$about:meta])*
        $visible:vis struct $Row:ident $(<$life:lifetime>)? { $($(#[$of:meta])* $field:ident: $type:ty),+ $(,)? }
    ) => {
        $(#[$about])*
        $visible struct $Row $(<$life>)? {
            $($(#[$of])* $visible $field: $type,)+
        }

        impl $(<$life>)? $Row $(<$life>)? {
            $visible fn arguments(self) -> sqlx::Result<sqlx::postgres::PgArguments> {
                use sqlx::Arguments;
                let mut arguments = sqlx::postgres::PgArguments::default();
                $(arguments.add(self.$field).map_err(sqlx::Error::Encode)?;)+
                Ok(arguments)
            }
        }
    };
}

pub(super) use bound;
