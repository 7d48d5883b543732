//! What the JSON files and the summaries say.

use super::flow::Tally;
use lancet::explain::DeviceTime;
use lancet::gpu::BusyClock;
use serde::Serialize;
use std::collections::BTreeMap;

/// `NAME.json`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub image: String,
    pub size: [u32; 2],
    #[serde(flatten)]
    pub settings: Settings,
    pub labels: Vec<LabelReport>,
    pub sheet: Option<String>,
    pub time_ms: BTreeMap<&'static str, f64>,
}

/// What all images of a run have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    pub model: String,
    pub method: String,
    pub notice: Option<String>,
    /// What the model saw, (width, height), pixels; nothing where it differs from image to image.
    pub input_size: Option<[u32; 2]>,
    /// Patches, (width, height); likewise.
    pub grid: Option<[u32; 2]>,
    pub templates: String,
    pub precision: &'static str,
    pub adapter: String,
    pub backend: String,
    pub activation_bytes: u64,
}

impl Settings {
    /// What these and `other` have in common, for images whose input sizes may differ.
    pub fn shared_with(self, other: &Settings) -> Settings {
        let same = self.input_size == other.input_size;
        Settings {
            input_size: self.input_size.filter(|_| same),
            grid: self.grid.filter(|_| same),
            activation_bytes: self.activation_bytes.max(other.activation_bytes),
            ..self
        }
    }

    /// `12x12 patches`, or what is said instead.
    pub fn patches(&self) -> String {
        self.grid.map_or("grids of the images' shapes".into(), |[w, h]| format!("{w}x{h} patches"))
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct LabelReport {
    pub label: String,
    /// Cosine of the class row with the label; plain CLIP's for clip and surgery.
    pub score: f32,
    /// Strongest place.
    pub peak: Peak,
    pub overlay: String,
    pub map: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Peak {
    pub x: u32,
    pub y: u32,
    /// The method's score of the strongest patch, before the map was stretched to 0..1.
    pub score: f32,
}

/// `lancet-run.json`.
#[derive(Debug, Serialize)]
pub struct Run {
    pub version: &'static str,
    #[serde(flatten)]
    pub settings: Settings,
    pub labels: Vec<String>,
    pub done: usize,
    /// Finished by an earlier run with the same settings.
    pub skipped: usize,
    pub failed: usize,
    pub images: Vec<ImageReport>,
    pub speed: Speed,
}

#[derive(Clone, Debug, Serialize)]
pub struct ImageReport {
    pub image: String,
    pub name: String,
    #[serde(flatten)]
    pub status: Status,
}

/// How an image ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Status {
    Done { size: [u32; 2] },
    Skipped,
    Failed { error: String },
}

/// Where the time of a run went. Everything but `total_s` is about the images: from the start of the first one's decoding
/// until the last file has its name. Loading the model and encoding labels come before.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Speed {
    pub wall_s: f64,
    pub images_per_s: f64,
    /// Time in which the device worked, each moment counted once.
    pub gpu_busy_s: f64,
    /// `gpu_busy_s` of `wall_s`.
    pub gpu_busy: f64,
    /// `timestamps` of the device at both ends of each submit, or `submit-to-done` where it has none.
    pub gpu_clock: &'static str,
    /// Summed over threads.
    pub decode_s: f64,
    /// Drawing sheets, encoding and writing files, summed over threads.
    pub encode_s: f64,
    pub encode_threads: usize,
    /// The largest.
    pub batch: u32,
    /// The most memory that the process ever had resident, bytes, where the system tells.
    pub peak_memory_bytes: Option<u64>,
    pub total_s: f64,
}

impl Speed {
    /// Adds images that went through one stream.
    pub fn add(&mut self, tally: &Tally, device: DeviceTime, batch: u32) {
        self.wall_s += tally.wall_s;
        self.gpu_busy_s += device.busy.as_secs_f64();
        self.gpu_busy = if self.wall_s > 0.0 { self.gpu_busy_s / self.wall_s } else { 0.0 };
        self.gpu_clock = match device.clock {
            BusyClock::Timestamps => "timestamps",
            BusyClock::SubmitToDone => "submit-to-done",
        };
        self.decode_s += tally.decode_s;
        self.encode_s += tally.encode_s;
        self.encode_threads = tally.encode_threads;
        self.batch = self.batch.max(batch);
    }
}

/// The most memory that this process ever had resident.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
