//! What comes with the crate: class lists of the usual data sets, and the settings of the published harnesses for them.

use crate::error::{Error, Result};
use crate::explain::segment::classes::Classes;
use crate::explain::segment::{Guide, Pamr, SegmentOptions, Short, View};

/// Data sets whose classes are built in; the files lie beside this one, in the text form of [`crate::explain::segment::classes`],
/// each with the version of its word list.
const SETS: [(&str, &str); 8] = [
    ("voc20", include_str!("sets/voc20.txt")),
    ("voc21", include_str!("sets/voc21.txt")),
    ("context59", include_str!("sets/context59.txt")),
    ("context60", include_str!("sets/context60.txt")),
    ("coco-object", include_str!("sets/coco_object.txt")),
    ("coco-stuff", include_str!("sets/coco_stuff.txt")),
    ("ade20k", include_str!("sets/ade20k.txt")),
    ("cityscapes", include_str!("sets/cityscapes.txt")),
];

impl Classes {
    /// Names of the built-in lists.
    pub fn sets() -> impl Iterator<Item = &'static str> {
        SETS.iter().map(|s| s.0)
    }

    /// A built-in list: `voc20`, `voc21`, `context59`, `context60`, `coco-object`, `coco-stuff`, `ade20k`, `cityscapes`.
    ///
    /// # Errors
    /// No such list; the message names them.
    pub fn set(name: &str) -> Result<Classes> {
        match SETS.iter().find(|s| s.0 == name) {
            Some((_, text)) => Classes::parse(text),
            None => Err(Error::Input {
                what: format!("no class list \"{name}\"; built in are {}", Classes::sets().collect::<Vec<_>>().join(", ")),
            }),
        }
    }
}

/// A published harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// arXiv 2312.01597.
    Sclip,
    /// arXiv 2404.08181, with refinement as its README's numbers.
    Naclip,
    /// arXiv 2407.12442.
    Clearclip,
    /// arXiv 2411.15851: NACLIP's without the refinement.
    Resclip,
    /// arXiv 2411.15869.
    ScClip,
    /// arXiv 2411.12044, without its image engineering and language-model texts.
    Itaclip,
}

impl Protocol {
    /// All, with the names that the program takes.
    pub const ALL: [(&str, Protocol); 6] = [
        ("sclip", Protocol::Sclip),
        ("naclip", Protocol::Naclip),
        ("clearclip", Protocol::Clearclip),
        ("resclip", Protocol::Resclip),
        ("sc-clip", Protocol::ScClip),
        ("itaclip", Protocol::Itaclip),
    ];

    /// Its settings for a data set of [`Classes::sets`].
    ///
    /// # Errors
    /// It published none for that set.
    pub fn options(self, set: &str) -> Result<SegmentOptions> {
        let name = Protocol::ALL.iter().find(|p| p.1 == self).map_or("", |p| p.0);
        let none =
            || Error::Input { what: format!("protocol {name} has no settings for \"{set}\"; pass a data set that it was published with") };
        if !Classes::sets().any(|known| known == set) {
            return Err(none());
        }
        // Short side, logit scale, probability threshold, area threshold.
        let (side, scale, prob, area) = match (self, set) {
            (Protocol::Sclip, "voc21") => (336, 65.0, 0.1, Some(0.1)),
            (Protocol::Sclip, "context60" | "coco-object") => (336, 50.0, 0.1, None),
            (Protocol::Sclip, "coco-stuff") => (448, 40.0, 0.0, None),
            (Protocol::Naclip | Protocol::Resclip, "voc21" | "context60" | "coco-object") => (336, 40.0, 0.1, None),
            (Protocol::Sclip | Protocol::Naclip | Protocol::Resclip | Protocol::ScClip | Protocol::Itaclip, "cityscapes") => {
                (560, 40.0, 0.0, None)
            }
            (Protocol::ScClip, "voc21") => (336, 50.0, 0.15, Some(0.1)),
            (Protocol::ScClip, "context60") => (336, 40.0, 0.15, None),
            (Protocol::ScClip, "coco-object") => (336, 55.0, 0.35, None),
            (Protocol::Sclip | Protocol::Naclip | Protocol::Resclip | Protocol::ScClip, _) => (336, 40.0, 0.0, None),
            (Protocol::Clearclip, "voc21") => (448, 50.0, 0.5, None),
            (Protocol::Clearclip, "context60") => (448, 50.0, 0.15, None),
            (Protocol::Clearclip, "coco-object") => (448, 50.0, 0.4, None),
            (Protocol::Clearclip, _) => (448, 50.0, 0.0, None),
            (Protocol::Itaclip, "voc21") => (336, 60.0, 0.1, Some(0.1)),
            (Protocol::Itaclip, "context60") => (336, 55.0, 0.1, None),
            (Protocol::Itaclip, "coco-object") => (336, 50.0, 0.1, None),
            (Protocol::Itaclip, "coco-stuff") => (448, 40.0, 0.0, None),
            (Protocol::Itaclip, _) => return Err(none()),
        };
        let short = Short { side, long: 2048 };
        let view = match (self, set) {
            (Protocol::Naclip | Protocol::Resclip, "voc20" | "voc21") => View::Short(short),
            (Protocol::Clearclip, "cityscapes") => View::Windows { short, crop: 224, stride: 224 },
            (Protocol::Clearclip, _) => View::Windows { short, crop: 448, stride: 224 },
            (Protocol::Itaclip, _) => View::Windows { short, crop: 224, stride: 28 },
            _ => View::Windows { short, crop: 224, stride: 112 },
        };
        let pamr = matches!(self, Protocol::Naclip | Protocol::Itaclip).then(|| Pamr { guide: Guide::Input, ..Pamr::default() });
        Ok(SegmentOptions {
            view,
            logit_scale: scale,
            prob_thd: prob,
            area_thd: area,
            pamr,
            through_input: matches!(self, Protocol::Naclip | Protocol::Resclip),
            cluster_vote: None,
            closing: self == Protocol::Itaclip,
            pad: self == Protocol::Clearclip,
            class_row: false,
            presence: 0.0,
            normalised: matches!(self, Protocol::Naclip | Protocol::Resclip),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_the_data_sets_sizes() {
        let sizes = [20, 21, 59, 60, 81, 171, 150, 19];
        for (name, size) in Classes::sets().zip(sizes) {
            let classes = Classes::set(name).unwrap();
            assert_eq!(classes.list().len(), size, "{name}");
            assert_eq!(classes.has_background(), ["voc21", "context60", "coco-object"].contains(&name), "{name}");
        }
        let of = |set: &str, index: usize| Classes::set(set).unwrap().list()[index].title.clone();
        let known = [("voc21", 15, "person"), ("context59", 58, "wood"), ("coco-object", 80, "toothbrush"), ("coco-stuff", 170, "wood")];
        for (set, index, title) in known.into_iter().chain([("ade20k", 149, "flag"), ("cityscapes", 10, "sky"), ("voc20", 14, "person")]) {
            assert_eq!(of(set, index), title, "{set}");
        }
        assert_eq!(Classes::set("voc21").unwrap().list()[0].names.len(), 26);
        assert!(Classes::set("imagenet").unwrap_err().to_string().contains("coco-stuff"));
    }

    #[test]
    fn every_protocol_is_sound() {
        for (name, protocol) in Protocol::ALL {
            for set in Classes::sets() {
                match protocol.options(set) {
                    Ok(options) => {
                        options.check().unwrap_or_else(|e| panic!("{name} {set}: {e}"));
                        assert!(options.prob_thd == 0.0 || Classes::set(set).unwrap().has_background(), "{name} {set}");
                    }
                    Err(e) => assert!(protocol == Protocol::Itaclip && e.to_string().contains(set), "{name} {set}: {e}"),
                }
            }
        }
    }
}
