//! A sentence explained word by word: CLIP Surgery's multimodal visualisation (arXiv 2304.05653).
//!
//! The texts of the method are the sentence's tokens, each with the feature it has before the one at the end marker is
//! taken for the whole ([`Clip::encode_tokens`]), without an ensemble. What a method finds for a token is a score per patch; a word
//! of several byte pairs is the mean of its tokens' scores, which for scores linear in the text is the score of their mean.
//!
//! The published figure ranks tokens by their cosine with the image's class feature. The markers take part there and
//! often win, as the end marker holds the whole sentence; here they are scored, and ranked are the words alone.

use crate::clip::{Clip, Labels, Tokenizer};
use crate::error::{Error, Result};
use crate::explain::scores::{Scores, stretched};
use std::ops::Range;

/// What a part of a sentence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Letters or digits: ranked.
    Word,
    /// A run of other signs, such as a full stop: scored, not ranked.
    Sign,
    /// The start or the end marker: scored, not ranked.
    Marker,
}

/// A word of a sentence, a sign, or a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// As the model reads it: cleaned, lower case.
    pub text: String,
    /// What it is.
    pub part: Part,
    /// Its tokens among those of the sentence.
    pub tokens: Range<usize>,
}

/// A sentence and the features of its tokens.
#[derive(Clone, Debug)]
pub struct Sentence {
    ids: Vec<u32>,
    words: Vec<Word>,
    labels: Labels,
}

/// What an image says about a word.
#[derive(Clone, Debug, PartialEq)]
pub struct WordScore {
    /// Mean cosine of its tokens with the class row of the method's features.
    pub cosine: f32,
    /// 1 for the word with the largest cosine, counting words only; the first of equals comes first.
    pub rank: Option<usize>,
    /// Its map over the patches, `[N]`, 0..1.
    pub map: Vec<f32>,
    /// The mean score of the strongest patch, before the map was stretched to 0..1.
    pub peak_score: f32,
}

impl Sentence {
    /// Reads a sentence: tokens, words, a feature per token, and that of the empty string.
    ///
    /// # Errors
    /// Not a word in it; as [`Clip::encode_text`].
    pub async fn new(clip: &Clip, text: &str) -> Result<Sentence> {
        let tokenizer = clip.tokenizer()?;
        let tokens = clip.encode_tokens(text).await?;
        let words = words(&tokenizer, &tokens.ids);
        if words.iter().all(|w| w.part != Part::Word) {
            return Err(Error::Input { what: format!("\"{text}\" has no word to explain; write a sentence, as \"a dog on a bench\"") });
        }
        let width = clip.config().embed as usize;
        let empty = clip.encode_tokens("").await?.features;
        let empty = empty[empty.len().saturating_sub(width)..].to_vec();
        let names = tokens.ids.iter().map(|&id| tokenizer.token_text(id).unwrap_or_default()).collect();
        Ok(Sentence { words, labels: Labels::new(names, tokens.features, empty, width)?, ids: tokens.ids })
    }

    /// Token ids, markers included, up to the end marker.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Words, signs and markers in order; together they are all tokens.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// One label per token: what an [`crate::Explainer`] is to be made with.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What image number `image` of `scores` says about each of [`Sentence::words`].
    ///
    /// # Errors
    /// Scores of other labels.
    pub fn score(&self, scores: &Scores, image: usize) -> Result<Vec<WordScore>> {
        let tokens = self.ids.len();
        if scores.labels != tokens || image >= scores.images {
            let expected = format!("image {image} by {tokens} tokens");
            return Err(Error::shape("words", "scores", expected, format!("{} images by {}", scores.images, scores.labels)));
        }
        let cosines = &scores.class_cosines[image * tokens..][..tokens];
        let mut all: Vec<WordScore> = self
            .words
            .iter()
            .map(|word| {
                let share = 1.0 / word.tokens.len() as f64;
                let mean = |value: &dyn Fn(usize) -> f32| (word.tokens.clone().map(|t| f64::from(value(t))).sum::<f64>() * share) as f32;
                let patches: Vec<f32> = (0..scores.cells()).map(|n| mean(&|t| scores.map(image, t)[n])).collect();
                WordScore {
                    cosine: mean(&|t| cosines[t]),
                    rank: None,
                    peak_score: patches.iter().copied().fold(f32::MIN, f32::max),
                    map: stretched(&patches),
                }
            })
            .collect();
        let mut order: Vec<usize> = (0..all.len()).filter(|&i| self.words[i].part == Part::Word).collect();
        order.sort_by(|&a, &b| all[b].cosine.total_cmp(&all[a].cosine));
        for (place, i) in order.into_iter().enumerate() {
            all[i].rank = Some(place + 1);
        }
        Ok(all)
    }
}

/// Byte pairs up to the end of each word; a marker is a part of its own, and ends a word that truncation cut.
fn words(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<Word> {
    let marker = |id: u32| id == tokenizer.start() || id == tokenizer.end();
    let mut words = Vec::new();
    let mut start = 0;
    for (i, &id) in ids.iter().enumerate() {
        let cut = ids.get(i + 1).is_none_or(|&next| marker(next));
        if !cut && !marker(id) && !tokenizer.ends_word(id) {
            continue;
        }
        let text = if marker(id) { tokenizer.token_text(id).unwrap_or_default() } else { tokenizer.decode(&ids[start..=i]) };
        let part = match text.chars().any(char::is_alphanumeric) {
            _ if marker(id) => Part::Marker,
            true => Part::Word,
            false => Part::Sign,
        };
        words.push(Word { text, part, tokens: start..i + 1 });
        start = i + 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(words: Vec<Word>, tokens: usize) -> Sentence {
        let names = (0..tokens).map(|i| i.to_string()).collect();
        Sentence { ids: (0..tokens as u32).collect(), words, labels: Labels::new(names, vec![0.0; tokens], vec![0.0], 1).unwrap() }
    }

    #[test]
    fn pieces_are_averaged_and_words_ranked() {
        let part = |part, tokens| Word { text: String::new(), part, tokens };
        let words = vec![
            part(Part::Marker, 0..1),
            part(Part::Word, 1..3),
            part(Part::Sign, 3..4),
            part(Part::Word, 4..5),
            part(Part::Marker, 5..6),
        ];
        let mut scores = Scores {
            images: 1,
            labels: 6,
            grid: [2, 1],
            class_cosines: vec![0.9, 0.1, 0.3, 0.8, 0.25, 0.9],
            class_scores: vec![0.0; 6],
            patches: vec![0.0, 1.0, 1.0, 5.0, 3.0, 1.0, 0.0, 0.0, 7.0, 7.0, 2.0, 4.0],
        };
        let found = sentence(words.clone(), 6).score(&scores, 0).unwrap();
        assert_eq!(found.iter().map(|w| w.rank).collect::<Vec<_>>(), [None, Some(2), None, Some(1), None]);
        assert!((found[1].cosine - 0.2).abs() < 1e-6);
        assert_eq!((found[1].peak_score, &found[1].map[..]), (3.0, &[0.0, 1.0][..]), "(1, 3) and (5, 1) make 2 and 3");
        assert_eq!(found[3].map, [0.0, 0.0], "a constant map");
        scores.labels = 5;
        assert!(sentence(words, 6).score(&scores, 0).is_err());
    }

    #[cfg(feature = "clip-vocab")]
    #[test]
    fn byte_pairs_become_words() {
        let tokenizer = Tokenizer::clip(8).unwrap();
        let of = |text: &str| words(&tokenizer, &tokenizer.encode_truncated(text).unwrap());
        let texts = |words: &[Word]| words.iter().map(|w| w.text.clone()).collect::<Vec<_>>();
        // Ids 1097 35689 563, then one a sign or digit.
        let found = of("Naïve, 4!");
        assert_eq!(texts(&found), ["<|startoftext|>", "naïve", ",", "4", "!", "<|endoftext|>"]);
        assert_eq!(found[1].tokens, 1..4, "three byte pairs");
        assert_eq!(found.iter().map(|w| w.part).filter(|&p| p == Part::Word).count(), 2);
        assert_eq!(found.last().unwrap().tokens.end, 8);
        // Cut in the middle of a word.
        let cut = of("xqzzkwvbn xqzzkwvbn xqzzkwvbn");
        assert_eq!(cut.iter().map(|w| w.tokens.len()).sum::<usize>(), 8);
        assert_eq!(cut.last().unwrap().part, Part::Marker);
    }
}
