//! Enums whose values have names, the same in the database, the API, files and commands.

/// A name that the database has and this build does not.
#[derive(Debug, thiserror::Error)]
#[error("the name is not known")]
pub struct UnknownName;

/// Declares an enum with the name of each value: written, serialised, listed and read by it. What is no name is the error that
/// `else` gives, [`UnknownName`] without it. A name is a `tt`: derives see a `literal` in a group, and utoipa does not read that.
macro_rules! named {
    ($(#[$about:meta])* pub enum $Name:ident { $($(#[$of:meta])* $Value:ident = $name:tt),+ $(,)? }) => {
        $crate::domain::named::named! {
            $(#[$about])* pub enum $Name { $($(#[$of])* $Value = $name),+ } else $crate::domain::named::UnknownName
        }
    };
    (
        $(#[$about:meta])*
        pub enum $Name:ident { $($(#[$of:meta])* $Value:ident = $name:tt),+ $(,)? } else $Unknown:path
    ) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        $(#[$about])*
        pub enum $Name {
            $($(#[$of])* #[serde(rename = $name)] $Value),+
        }

        impl $Name {
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$Value),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Value => $name),+
                }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $Name {
            type Err = $Unknown;

            fn from_str(text: &str) -> Result<Self, $Unknown> {
                Self::ALL.into_iter().find(|value| value.as_str() == text).ok_or($Unknown)
            }
        }
    };
}

pub(crate) use named;

#[cfg(test)]
mod tests {
    named! {
        pub enum Fruit { Apple = "apple", RedPear = "red_pear" }
    }

    #[test]
    fn a_value_is_read_as_it_is_written() {
        for fruit in Fruit::ALL {
            assert_eq!(fruit.as_str().parse::<Fruit>().ok(), Some(fruit));
            assert_eq!(serde_json::json!(fruit), fruit.to_string());
        }
        assert_eq!(Fruit::ALL.map(Fruit::as_str), ["apple", "red_pear"]);
        assert!("Apple".parse::<Fruit>().is_err());
    }
}
