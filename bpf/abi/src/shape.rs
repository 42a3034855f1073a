//! What a record looks like, as a value: the one description that the C header is made from and that
//! a program's BTF is held against.
//!
//! `records!` defines records and describes them; `numbered!` defines enums whose numbers C shares. So a
//! field or number is written once, in Rust.

/// A record, as laid out by `repr(C)`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its name in Rust; in C it is the same in snake case.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Its fields, in order and without gaps.
    pub fields: &'static [Field],
}

/// A field of a record.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, the same in C.
    pub name: &'static str,
    /// Its type as written in Rust: `u8` to `u64`, a record, or an array such as `[u8; 4]`.
    pub kind: &'static str,
    /// Bytes from the start of the record.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

/// The numbers of an enum that C shares.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Its name in Rust; in C each number is `NAME_VARIANT` in capitals.
    pub name: &'static str,
    /// Variants and their numbers.
    pub variants: &'static [(&'static str, u64)],
}

macro_rules! records {
    ($(#[$list_doc:meta])* $list:ident;
     $($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(
                Clone, Copy, Debug, PartialEq, Eq, Default,
                zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
            )]
            #[repr(C)]
            pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }
        )*
        $(#[$list_doc])*
        pub const $list: &[$crate::shape::Shape] = &[$($crate::shape::Shape {
            name: stringify!($name),
            size: size_of::<$name>(),
            fields: &[$($crate::shape::Field {
                name: stringify!($field),
                kind: stringify!($kind),
                offset: core::mem::offset_of!($name, $field),
                size: {
                    const fn size<T>(_: fn(&$name) -> &T) -> usize { size_of::<T>() }
                    size(|record| &record.$field)
                },
            },)*],
        },)*];
    };
}

macro_rules! numbered {
    ($(#[doc = $doc:literal])* #[repr($repr:ident)] $name:ident {
        $($(#[doc = $variant_doc:literal])* $variant:ident = $number:literal,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr($repr)]
        pub enum $name { $($(#[doc = $variant_doc])* $variant = $number,)* }

        impl $name {
            /// All of them, for C.
            pub const NUMBERS: $crate::shape::Numbers = $crate::shape::Numbers {
                name: stringify!($name),
                variants: &[$((stringify!($variant), $number),)*],
            };

            /// From its number; `None` for a foreign one.
            pub const fn from_number(number: $repr) -> Option<Self> {
                match number { $($number => Some($name::$variant),)* _ => None }
            }
        }
    };
    ($(#[doc = $doc:literal])* #[repr($repr:ident)] named $name:ident {
        $($(#[doc = $variant_doc:literal])* $variant:ident = $number:literal, $text:literal;)*
    }) => {
        numbered! {
            $(#[doc = $doc])* #[repr($repr)] $name { $($(#[doc = $variant_doc])* $variant = $number,)* }
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// As printed.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

pub(crate) use {numbered, records};
