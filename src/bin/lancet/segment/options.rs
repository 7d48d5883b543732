//! Arguments of `lancet segment`: which classes, and how the image goes through the model.

use crate::args::Size;
use anyhow::{Context, Result, bail};
use lancet::clip::ClipConfig;
use lancet::explain::segment::classes::BACKGROUND;
use lancet::explain::segment::{Class, ClusterVote, Pamr, Protocol, Short, View};
use lancet::{Classes, SegmentOptions};
use std::path::Path;

/// What to look for.
#[derive(Debug, clap::Args)]
pub struct ClassArgs {
    /// Classes: one name each, or several separated by commas: "person, man, woman"
    classes: Vec<String>,
    /// A list of classes: voc20, voc21, context59, context60, coco-object, coco-stuff, ade20k, cityscapes, or a file with a
    /// class a line: "name, name" or "title = name, name"; # begins a comment
    #[arg(long = "classes", value_name = "SET|FILE")]
    set: Option<String>,
    /// What else is in the picture, separated by commas; becomes class 0
    #[arg(long, value_name = "NAMES")]
    background: Option<String>,
}

impl ClassArgs {
    /// The classes; with an empty background in front if one is needed and none was named.
    pub fn classes(&self, wants_background: bool) -> Result<Classes> {
        let mut list = Vec::new();
        if let Some(set) = &self.set {
            list.extend(read_set(set)?.list().iter().cloned());
        }
        for text in &self.classes {
            list.push(Class::parse(text)?);
        }
        if let Some(names) = &self.background {
            if list.first().is_some_and(|c| c.title == BACKGROUND) {
                bail!("--background and a list that has a background: give one of them");
            }
            list.insert(0, Class::parse(&format!("{BACKGROUND} = {names}"))?);
        }
        if list.is_empty() {
            bail!("no classes: name what to look for, e.g. lancet segment photo.jpg dog \"sky, cloud\" grass, or pass --classes voc21");
        }
        let classes = Classes::new(list)?;
        Ok(if wants_background { classes.with_background() } else { classes })
    }

    /// The name of the list.
    pub fn set(&self) -> Option<&str> {
        self.set.as_deref()
    }
}

fn read_set(set: &str) -> Result<Classes> {
    if Classes::sets().any(|known| known == set) {
        return Ok(Classes::set(set)?);
    }
    let path = Path::new(set);
    if !path.exists() {
        bail!("--classes {set}: neither a file nor one of {}", Classes::sets().collect::<Vec<_>>().join(", "));
    }
    let text = std::fs::read_to_string(path).with_context(|| set.to_owned())?;
    Classes::parse(&text).with_context(|| set.to_owned())
}

/// How the image goes through the model, and how scores become classes.
#[derive(Debug, clap::Args)]
pub struct ViewArgs {
    /// What the model sees: N or WxH pixels, or a grid of the image's shape: aspect with as many patches as the model's own,
    /// aspect:N with as many as a square of N pixels [default: the model's own size]
    #[arg(long, value_name = "N|WxH|aspect", help_heading = "View", conflicts_with_all = ["short", "protocol"])]
    size: Option<Size>,
    /// Instead: keep the aspect, shorter side N pixels, bilinear, as the published harnesses do
    #[arg(long, value_name = "N", help_heading = "View", conflicts_with = "protocol", value_parser = clap::value_parser!(u32).range(1..=8192))]
    short: Option<u32>,
    /// Longer side at most N pixels
    #[arg(long, value_name = "N", default_value_t = 2048, help_heading = "View", requires = "short", value_parser = clap::value_parser!(u32).range(1..=8192))]
    long: u32,
    /// Windows of N pixels over the resized image; 0 for the whole of it in one pass
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "View", requires = "short")]
    crop: u32,
    /// Zeros around windows that are no multiple of the patch, so that the model reads every row and column of pixels
    #[arg(long, help_heading = "View", requires = "crop")]
    pad: bool,
    /// From one window to the next, pixels [default: half a window]
    #[arg(long, value_name = "N", help_heading = "View", requires = "crop")]
    stride: Option<u32>,
    #[arg(long, value_name = "NAME", value_parser = protocol, help_heading = "View", help = protocol_help())]
    protocol: Option<Protocol>,
    /// What scores are multiplied by before the softmax over names [default: 40]
    #[arg(long, value_name = "X", help_heading = "Choice")]
    logit_scale: Option<f32>,
    /// Pixels whose class is less likely than this become background [default: 0]
    #[arg(long, value_name = "P", help_heading = "Choice")]
    threshold: Option<f32>,
    /// Take out classes that cover at most this share of what all but the background cover
    #[arg(long, value_name = "SHARE", help_heading = "Choice")]
    min_area: Option<f32>,
    /// Take names out that no patch of a window finds so likely
    #[arg(long, value_name = "P", help_heading = "Choice")]
    presence: Option<f32>,
    /// Multiply patches' scores by those of the whole window, name by name
    #[arg(long, help_heading = "Choice")]
    class_row: bool,
    /// Patches whose tokens correlate alike become segments, and each segment takes the class of most of its pixels
    /// (CLIPtrase): how far patches of a segment may be apart, and how many make one, e.g. 0.7,3; not with windows
    #[arg(long, value_name = "EPS,MIN", value_parser = cluster_vote, help_heading = "Choice")]
    cluster_vote: Option<ClusterVote>,
    /// Close cracks and holes of a pixel or two in the finished map; the neighbour with the higher class index gets them
    #[arg(long, help_heading = "Choice")]
    closing: bool,
    /// Refine along the image's colours, so many times; 0 for not [default: 10, or as the protocol has it]
    #[arg(long, value_name = "N", help_heading = "Choice")]
    pamr: Option<u32>,
    /// Distances that the refinement looks at, pixels [default: 8,16]
    #[arg(long, value_name = "D,D", value_delimiter = ',', help_heading = "Choice")]
    dilations: Option<Vec<u32>>,
}

fn cluster_vote(text: &str) -> Result<ClusterVote, String> {
    let parse = || {
        let (eps, min_samples) = text.split_once(',')?;
        Some(ClusterVote { eps: eps.trim().parse().ok()?, min_samples: min_samples.trim().parse().ok()? })
    };
    let vote = parse().ok_or_else(|| format!("\"{text}\": expected a distance and a number of patches, e.g. 0.7,3"))?;
    vote.check().map_err(|e| e.to_string())?;
    Ok(vote)
}

fn protocol_help() -> String {
    format!("All settings of a published harness for the data set of --classes: {}", Protocol::ALL.map(|p| p.0).join(", "))
}

fn protocol(name: &str) -> Result<Protocol, String> {
    let known = || Protocol::ALL.map(|p| p.0).join(", ");
    Protocol::ALL.iter().find(|p| p.0 == name).map(|p| p.1).ok_or_else(|| format!("expected one of {}", known()))
}

impl ViewArgs {
    /// True if some pixels may be of no class.
    pub fn wants_background(&self) -> bool {
        self.threshold.is_some_and(|t| t > 0.0)
    }

    /// The settings for a model.
    pub fn options(&self, config: &ClipConfig, set: Option<&str>) -> Result<SegmentOptions> {
        let mut options = match self.protocol {
            // Grids are coarse: without refinement outlines are blobs.
            None => SegmentOptions { view: self.view(config), pamr: Some(Pamr::default()), ..SegmentOptions::new(config) },
            Some(protocol) => {
                let Some(set) = set else { bail!("--protocol needs the data set: --classes voc21, or another built-in list") };
                protocol.options(set)?
            }
        };
        if let Some(scale) = self.logit_scale {
            options.logit_scale = scale;
        }
        if let Some(threshold) = self.threshold {
            options.prob_thd = threshold;
        }
        if self.min_area.is_some() {
            options.area_thd = self.min_area;
        }
        options.presence = self.presence.unwrap_or(options.presence);
        options.class_row |= self.class_row;
        options.cluster_vote = self.cluster_vote.or(options.cluster_vote);
        options.closing |= self.closing;
        options.pad |= self.pad;
        options.pamr = match (self.pamr, options.pamr) {
            (Some(0), _) => None,
            (iterations, was) if iterations.is_some() || was.is_some() || self.dilations.is_some() => {
                let was = was.unwrap_or_default();
                Some(Pamr {
                    iterations: iterations.unwrap_or(was.iterations),
                    dilations: self.dilations.clone().unwrap_or(was.dilations),
                    guide: was.guide,
                })
            }
            (_, was) => was,
        };
        options.check()?;
        Ok(options)
    }

    fn view(&self, config: &ClipConfig) -> View {
        if let Some(side) = self.short {
            let short = Short { side, long: self.long };
            return match self.crop {
                0 => View::Short(short),
                crop => View::Windows { short, crop, stride: self.stride.unwrap_or(crop.div_ceil(2)) },
            };
        }
        match self.size {
            None => View::Whole([config.image_size(); 2]),
            Some(Size::Fixed(size)) => View::Whole(size),
            Some(Size::Aspect(side)) => View::Aspect(side.unwrap_or(config.image_size())),
        }
    }
}
