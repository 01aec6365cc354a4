//! `section!`: what is declared once of a setting, and what follows from it.
//!
//! A declaration is the comment with meaning and unit, the name, the type, the default as TOML has it, and the rules:
//!
//! ```text
//! /// Batches in flight per partition.
//! credits: usize = 4, from(1..=16);
//! ```
//!
//! From it come the field, its default, the check of its value, and its lines in config.default.toml. The rules are
//!
//! - `from(LEAST..=MOST)` and `from(LEAST..)`: a number within bounds;
//! - `within("TEXT", of => BOUNDS)`: bounds that depend on other settings of the section, `of`, and what they are;
//! - `must("RULE", of => CONDITION)`: what else has to hold. The error and the comment name the rule.
//!
//! A rule over two sections is in `check`.

macro_rules! section {
    (
        $(#[$about:meta])*
        pub struct $Section:ident in $section:ident {
            $(
                $(#[doc = $meaning:literal])+
                $field:ident: $of:ty = $default:literal $(, $rule:ident $args:tt)*;
            )+
            $(also { $($also:tt)+ })?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $Section {
            $($(#[doc = $meaning])+ pub $field: $of,)+
            $($($also)+)?
        }

        impl $Section {
            /// The section with its defaults and comments, as config.default.toml has it.
            pub(super) const TOML: &str = concat!(
                "\n[", stringify!($section), "]\n",
                $(
                    $("#", $meaning, "\n",)+
                    $(section!(@text $rule $args),)*
                    stringify!($field), " = ", stringify!($default), "\n",
                )+
            );

            pub(super) fn check(&self, found: &mut crate::config::check::Problems) {
                $($(
                    section!(@check $rule $args self $field $of, found, concat!(stringify!($section), ".", stringify!($field)));
                )*)+
            }
        }
    };

    (@text from ($least:literal ..= $most:literal)) => { concat!("# From ", stringify!($least), " to ", stringify!($most), ".\n") };
    (@text from ($least:literal ..)) => { concat!("# At least ", stringify!($least), ".\n") };
    (@text within ($text:literal, $section:ident => $bounds:expr)) => { concat!("# From ", $text, ".\n") };
    (@text must ($rule:literal, $section:ident => $holds:expr)) => { concat!("# Must ", $rule, ".\n") };

    (@check from ($least:literal ..= $most:literal) $self:ident $field:ident $of:ty, $found:ident, $name:expr) => {
        $found.range($name, $self.$field, $least..=$most)
    };
    (@check from ($least:literal ..) $self:ident $field:ident $of:ty, $found:ident, $name:expr) => {
        $found.range($name, $self.$field, $least..=<$of>::MAX)
    };
    (@check within ($text:literal, $section:ident => $bounds:expr) $self:ident $field:ident $of:ty, $found:ident, $name:expr) => {{
        let $section = $self;
        $found.range($name, $self.$field, $bounds)
    }};
    (@check must ($rule:literal, $section:ident => $holds:expr) $self:ident $field:ident $of:ty, $found:ident, $name:expr) => {{
        let $section = $self;
        $found.holds($name, $holds, $rule)
    }};
}

pub(super) use section;
