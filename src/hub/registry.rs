//! The models that have a name: one row each in `models.tsv`.

use crate::error::{Error, Result};
use crate::reference::Activation;
use std::sync::LazyLock;

static TABLE: LazyLock<Vec<Model>> = LazyLock::new(|| rows().filter_map(Model::parse).collect());

fn rows() -> impl Iterator<Item = &'static str> {
    include_str!("models.tsv").lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// A model with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What `--model` takes.
    pub name: &'static str,
    /// `organisation/name` on the hub.
    pub repository: &'static str,
    /// Branch, tag or commit.
    pub revision: &'static str,
    /// Of both towers.
    pub activation: Activation,
    /// Pixel mean and deviation are 0.5, not OpenAI's.
    pub half_pixels: bool,
    /// Side of the training images, pixels.
    pub image_px: u32,
    /// Both towers, millions.
    pub parameters_m: u32,
    /// Of the weights.
    pub licence: &'static str,
    /// Other spellings.
    pub aliases: Vec<&'static str>,
}

impl Model {
    fn parse(line: &'static str) -> Option<Model> {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[name, repository, revision, activation, pixels, image, parameters, licence, aliases] = fields.as_slice() else { return None };
        Some(Model {
            name,
            repository,
            revision,
            activation: match activation {
                "quick_gelu" => Activation::QuickGelu,
                "gelu" => Activation::Gelu,
                _ => return None,
            },
            half_pixels: match pixels {
                "half" => true,
                "openai" => false,
                _ => return None,
            },
            image_px: image.parse().ok()?,
            parameters_m: parameters.parse().ok()?,
            licence,
            aliases: aliases.split(' ').filter(|a| !a.is_empty()).collect(),
        })
    }

    /// All of them, in the table's order.
    pub fn all() -> &'static [Model] {
        &TABLE
    }

    /// By name or alias; `/`, `_`, `-` and capitals may differ.
    pub fn find(name: &str) -> Option<&'static Model> {
        let spellings = |m: &'static Model| std::iter::once(m.name).chain(m.aliases.iter().copied());
        if name.starts_with(['.', '/', '\\', '~']) {
            return None; // a path, whatever its letters
        }
        let key = letters(name);
        // ViT-g-14 and ViT-G-14 are two models: capitals decide where they can.
        let exact = TABLE.iter().find(|m| spellings(m).any(|s| letters(s) == key));
        exact.or_else(|| TABLE.iter().find(|m| spellings(m).any(|s| letters(s).eq_ignore_ascii_case(&key))))
    }

    /// The error for a name that nothing has: all names, nearest first.
    pub fn unknown(name: &str) -> Error {
        let key = letters(name).to_lowercase();
        let distance = |m: &&Model| strsim::damerau_levenshtein(&letters(m.name).to_lowercase(), &key);
        let mut names: Vec<&Model> = TABLE.iter().collect();
        names.sort_by_cached_key(distance);
        let known: Vec<&str> = names.iter().map(|m| m.name).collect();
        Error::UnknownModel { name: name.to_owned(), known: format!("{}, demo", known.join(", ")) }
    }

    /// The model of this name.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] with all names, nearest first.
    pub fn named(name: &str) -> Result<&'static Model> {
        Model::find(name).ok_or_else(|| Model::unknown(name))
    }
}

/// What counts in a name.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_no_two_share_a_spelling() {
        assert_eq!(rows().count(), Model::all().len(), "a row of models.tsv is malformed");
        let mut seen = std::collections::HashMap::new();
        for model in Model::all() {
            for spelling in std::iter::once(model.name).chain(model.aliases.iter().copied()) {
                assert_eq!(seen.insert(letters(spelling), model.name), None, "{spelling}");
                assert_eq!(Model::find(spelling), Some(model), "{spelling}");
            }
        }
    }

    #[test]
    fn names_as_people_write_them() {
        for (written, name) in [
            ("ViT-B/16", "ViT-B-16"),
            ("vit_b_16", "ViT-B-16"),
            ("ViT-B-16:openai", "ViT-B-16"),
            ("ViT-L/14@336px", "ViT-L-14-336"),
            ("rn50X4", "RN50x4"),
            ("vit-g-14", "ViT-g-14"),
            ("ViT-G/14", "ViT-bigG-14"),
            ("vit-b-16-DATACOMP_XL_s13b_b90k", "ViT-B-16-datacomp"),
        ] {
            assert_eq!(Model::named(written).unwrap().name, name, "{written}");
        }
        assert_eq!(Model::find("./ViT-B-16"), None);
        let error = Model::named("ViT-B-61").unwrap_err().to_string();
        let (near, far) = (error.find("ViT-B-16").unwrap(), error.find("RN50x64").unwrap());
        assert!(near < far && error.contains("unknown model \"ViT-B-61\""), "{error}");
    }

    #[test]
    fn activations_are_those_of_the_training_code() {
        for model in Model::all() {
            let quick = ["openai", "metaclip", "DFN"].iter().any(|t| model.repository.contains(t));
            assert_eq!(model.activation == Activation::QuickGelu, quick, "{}", model.name);
        }
    }
}
