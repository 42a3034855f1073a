//! The parts of an image by name, for people.

use weir_abi::Image;
use weir_abi::layout::{KERNEL_SECTIONS, Section};
use weir_abi::services::ServiceImage;
use weir_abi::services::layout::SERVICE_KERNEL_SECTIONS;

/// Every section's name, in order.
pub(crate) const NAMES: &[(Section, &str)] = &[
    (Section::Endpoints, "endpoints"),
    (Section::NodeEndpoints, "node-endpoints"),
    (Section::V4Directory, "v4-directory"),
    (Section::V4Ranges, "v4-ranges"),
    (Section::V6Keys, "v6-keys"),
    (Section::V6Values, "v6-values"),
    (Section::V6LowTables, "v6-low-tables"),
    (Section::V6LowKeys, "v6-low-keys"),
    (Section::V6LowValues, "v6-low-values"),
    (Section::Protocols, "protocols"),
    (Section::PortDirectories, "port-directories"),
    (Section::PortPages, "port-pages"),
    (Section::Tables, "tables"),
    (Section::PeerDirectories, "peer-directories"),
    (Section::PeerPages, "peer-pages"),
    (Section::ColumnMaps, "column-maps"),
    (Section::Columns, "columns"),
    (Section::RowDirectories, "row-directories"),
    (Section::Rows, "rows"),
    (Section::Dictionaries, "dictionaries"),
    (Section::Rules, "rules"),
    (Section::Policies, "policies"),
    (Section::Identities, "identities"),
    (Section::RequestSets, "request-sets"),
    (Section::RequestMembers, "request-members"),
    (Section::RequestRules, "request-rules"),
    (Section::Headers, "headers"),
    (Section::Fqdns, "fqdns"),
    (Section::Facts, "facts"),
    (Section::Places, "places"),
    (Section::Strings, "strings"),
];

/// The names of a service image's sections, in order.
const SERVICE_NAMES: &[&str] = &[
    "displacements",
    "frontends",
    "tables",
    "slots",
    "backends",
    "source-sets",
    "source-ranges",
    "ports",
    "services",
    "nodes",
    "facts",
    "strings",
];

/// A part of at most so many thousandths of an image is a small one.
const SMALL: u32 = 5;

/// One section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SectionSize {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its bytes, padding left out.
    pub(crate) bytes: u32,
    /// Whether the kernel reads it.
    pub(crate) in_kernel: bool,
}

/// The sections of an image, in order.
pub(crate) fn sizes(image: &Image<'_>) -> Vec<SectionSize> {
    let size = |&(section, name): &(Section, &'static str)| SectionSize {
        name,
        bytes: bytes(image, section),
        in_kernel: (section as usize) < KERNEL_SECTIONS,
    };
    NAMES.iter().map(size).collect()
}

/// The bytes of one section.
pub(crate) fn bytes(image: &Image<'_>, section: Section) -> u32 {
    image.header().sections.get(section as usize).map_or(0, |extent| extent.len)
}

/// The sections of a service image, in order.
pub(crate) fn of_services(image: &ServiceImage<'_>) -> Vec<SectionSize> {
    let bytes = image.header().sections.iter().map(|extent| extent.len);
    let size =
        |(place, (&name, bytes))| SectionSize { name, bytes, in_kernel: place < SERVICE_KERNEL_SECTIONS };
    SERVICE_NAMES.iter().zip(bytes).enumerate().map(size).collect()
}

/// The rows of a table of section sizes: the largest first, small ones together.
pub(crate) fn rows(mut sizes: Vec<SectionSize>, total: u32) -> String {
    sizes.sort_by_key(|size| std::cmp::Reverse(size.bytes));
    let total = total.max(1);
    let is_large = |size: &SectionSize| size.bytes / SMALL > total / 1000;
    let row = |name: &str, bytes: u32, in_kernel: bool| {
        let percent = f64::from(bytes) * 100.0 / f64::from(total);
        let reader = if in_kernel { "  kernel" } else { "" };
        format!("  {name:<18} {:>12}  {percent:>5.1} %{reader}\n", grouped(u64::from(bytes)))
    };
    let (large, small): (Vec<_>, Vec<_>) =
        sizes.into_iter().filter(|size| size.bytes > 0).partition(is_large);
    let mut rows: String = large.iter().map(|size| row(size.name, size.bytes, size.in_kernel)).collect();
    if !small.is_empty() {
        let name = format!("{} smaller", small.len());
        rows.push_str(&row(&name, small.iter().map(|size| size.bytes).sum(), false));
    }
    rows
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_abi::layout::SECTIONS;
    use weir_abi::services::layout::ServiceSection;

    #[test]
    fn every_section_has_its_name_in_its_place() {
        assert_eq!(NAMES.len(), SECTIONS);
        assert!(NAMES.iter().enumerate().all(|(place, (section, _))| *section as usize == place));
    }

    #[test]
    fn every_section_of_services_has_its_name() {
        let parts = ServiceSection::NUMBERS.variants;
        assert_eq!(SERVICE_NAMES.len(), parts.len());
        let plain = |name: &str| name.replace('-', "").to_lowercase();
        assert!(parts.iter().zip(SERVICE_NAMES).all(|((part, _), name)| plain(part) == plain(name)));
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"],
            [0, 999, 1000, 12_345_678].map(grouped).each_ref().map(String::as_str)
        );
    }
}
