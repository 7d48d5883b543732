//! What is kept of one image, and what an evaluation is.

use lancet::eval::{Cell, MapCounts};
use serde::{Deserialize, Serialize};

/// Everything that results depend on. Parts of an evaluation fit together if theirs are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The program's version.
    pub lancet: String,
    pub dataset: String,
    /// How many images, after `--limit`.
    pub images: usize,
    /// Of the list of images and masks.
    pub list_hash: String,
    /// Title of each class, in order.
    pub classes: Vec<String>,
    /// The class that is no object.
    pub background: Option<u16>,
    /// Of all names of all classes and the templates.
    pub texts_hash: String,
    pub synonyms: bool,
    pub model_hash: String,
    /// Of the model's config.
    pub config_hash: String,
    pub precision: String,
    /// What the model sees, (width, height).
    pub size: [u32; 2],
    /// Images that go through the model together.
    pub batch: usize,
    pub tasks: Vec<Task>,
    /// Rows of the table of maps: two baselines, then methods.
    pub rows: Vec<String>,
    /// Rows of the table of segmentation.
    pub segmenters: Vec<String>,
    /// How they segment.
    pub protocol: Option<String>,
    /// Of the data of all methods and of the protocol.
    pub methods_hash: String,
}

impl Settings {
    /// The classes but the background: the labels of maps and recognition.
    pub fn objects(&self) -> &[String] {
        &self.classes[usize::from(self.background.is_some()).min(self.classes.len())..]
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Heat maps against masks: mIoU, mSC, pointing, argmax, average precision
    Maps,
    /// A class for every pixel: mIoU over classes
    Segmentation,
    /// Which classes are on an image: mAP
    MultiLabel,
    /// The class of single objects: top-1, top-5
    ZeroShot,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Place in the list.
    pub index: usize,
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// One per row of the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<RowMaps>,
    /// One per segmenting method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segmentation: Vec<Vec<Cell>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_label: Option<MultiLabel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_shot: Option<ZeroShot>,
}

/// Maps of one image by one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowMaps {
    /// One per present class, in order.
    pub labels: Vec<LabelMaps>,
    /// Pixels whose highest map is the right one, and all that were asked; `None` with one label, and for maps
    /// that do not know labels apart.
    pub argmax: Option<[u64; 2]>,
}

/// One map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelMaps {
    pub class: u16,
    #[serde(flatten)]
    pub counts: MapCounts,
}

/// For recognition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiLabel {
    /// Objects on the image, as places in [`Settings::objects`].
    pub present: Vec<u16>,
    /// Plain CLIP's cosines of the class row with all objects, `[L]`.
    pub cosines: Vec<f32>,
}

/// For single objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroShot {
    pub class: u16,
    /// How many classes are ahead of the right one.
    pub rank: usize,
}
