//! CLIP's image encoder and text tower in candle on the CPU, to be timed beside lancet.
//!
//! Loads a ViT-B in OpenAI / OpenCLIP layout, says `candle-clip: ready on ...` on stderr, then does one run per line of stdin and
//! prints its milliseconds. See ../README.md.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::{sigmoid, softmax_last_dim};
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: candle-clip --weights FILE [--texts P] [--head]

  --weights FILE   f32 safetensors of a ViT-B in OpenAI / OpenCLIP layout
  --texts P        the text tower on P prompts padded to 77 tokens (default: the image encoder, 224 px, batch 1)
  --head           also print the first numbers of the output, to compare with another program
";

const EPS: f32 = 1e-5;
const HEAD_WIDTH: usize = 64;

struct Args {
    weights: String,
    texts: Option<usize>,
    head: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> std::result::Result<Option<Args>, String> {
    let (mut weights, mut texts, mut head) = (None, None, false);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--weights" => weights = Some(value()?),
            "--texts" => {
                let text = value()?;
                let count = text.parse::<usize>().ok().filter(|&n| n > 0);
                texts = Some(count.ok_or(format!("--texts: `{text}` is not a whole number above 0"))?);
            }
            "--head" => head = true,
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    Ok(Some(Args { weights: weights.ok_or("--weights is missing")?, texts, head }))
}

type Weights = HashMap<String, Tensor>;

fn take(w: &mut Weights, name: &str) -> Result<Tensor> {
    w.remove(name).ok_or_else(|| candle_core::Error::Msg(format!("no tensor named {name}")))
}

struct Norm(Tensor, Tensor);

impl Norm {
    fn load(w: &mut Weights, name: &str) -> Result<Norm> {
        Ok(Norm(take(w, &format!("{name}.weight"))?, take(w, &format!("{name}.bias"))?))
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::layer_norm(x, &self.0, &self.1, EPS)
    }
}

/// `x W^T + b`; the transposed view is what candle's own `Linear` multiplies by.
struct Dense(Tensor, Tensor);

impl Dense {
    fn load(w: &mut Weights, weight: &str, bias: &str) -> Result<Dense> {
        Ok(Dense(take(w, weight)?, take(w, bias)?))
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let y = x.reshape((batch * tokens, width))?.matmul(&self.0.t()?)?;
        y.broadcast_add(&self.1)?.reshape((batch, tokens, ()))
    }
}

struct Block {
    norm1: Norm,
    qkv: Dense,
    out: Dense,
    norm2: Norm,
    up: Dense,
    down: Dense,
}

impl Block {
    fn load(w: &mut Weights, stem: &str) -> Result<Block> {
        let at = |tail: &str| format!("{stem}.{tail}");
        Ok(Block {
            norm1: Norm::load(w, &at("ln_1"))?,
            qkv: Dense::load(w, &at("attn.in_proj_weight"), &at("attn.in_proj_bias"))?,
            out: Dense::load(w, &at("attn.out_proj.weight"), &at("attn.out_proj.bias"))?,
            norm2: Norm::load(w, &at("ln_2"))?,
            up: Dense::load(w, &at("mlp.c_fc.weight"), &at("mlp.c_fc.bias"))?,
            down: Dense::load(w, &at("mlp.c_proj.weight"), &at("mlp.c_proj.bias"))?,
        })
    }

    /// `mask` `[T, T]` is added to the scores.
    fn apply(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let heads = width / HEAD_WIDTH;
        let qkv = self.qkv.apply(&self.norm1.apply(x)?)?;
        let part = |i: usize| qkv.narrow(D::Minus1, i * width, width)?.reshape((batch, tokens, heads, HEAD_WIDTH))?.transpose(1, 2)?.contiguous();
        let scale = (HEAD_WIDTH as f64).sqrt().recip();
        let scores = ((part(0)? * scale)?).matmul(&part(1)?.t()?)?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let mixed = softmax_last_dim(&scores)?.matmul(&part(2)?)?;
        let mixed = mixed.transpose(1, 2)?.reshape((batch, tokens, width))?;
        let x = (x + self.out.apply(&mixed)?)?;
        let hidden = self.up.apply(&self.norm2.apply(&x)?)?;
        let hidden = (&hidden * sigmoid(&(&hidden * 1.702)?)?)?; // QuickGELU
        x + self.down.apply(&hidden)?
    }
}

fn blocks(w: &mut Weights, stem: &str) -> Result<Vec<Block>> {
    let count = (0..).take_while(|i| w.contains_key(&format!("{stem}.{i}.ln_1.weight"))).count();
    (0..count).map(|i| Block::load(w, &format!("{stem}.{i}"))).collect()
}

struct Vision {
    patches: Tensor,
    patch: usize,
    class: Tensor,
    positions: Tensor,
    norm_pre: Norm,
    blocks: Vec<Block>,
    norm_post: Norm,
    projection: Tensor,
}

impl Vision {
    fn load(w: &mut Weights) -> Result<Vision> {
        let patches = take(w, "visual.conv1.weight")?;
        let (width, _, patch, _) = patches.dims4()?;
        Ok(Vision {
            patches: patches.reshape((width, ()))?,
            patch,
            class: take(w, "visual.class_embedding")?.reshape((1, 1, width))?,
            positions: take(w, "visual.positional_embedding")?,
            norm_pre: Norm::load(w, "visual.ln_pre")?,
            blocks: blocks(w, "visual.transformer.resblocks")?,
            norm_post: Norm::load(w, "visual.ln_post")?,
            projection: take(w, "visual.proj")?,
        })
    }

    /// `[1, 3, S, S]` to the embedding of every token, `[1, tokens, D]`. The patch convolution's stride is its kernel: one product.
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        let (_, _, size, _) = image.dims4()?;
        let (patch, grid) = (self.patch, size / self.patch);
        let x = image.reshape((3, grid, patch, grid, patch))?.permute((1, 3, 0, 2, 4))?;
        let x = x.reshape((grid * grid, 3 * patch * patch))?.matmul(&self.patches.t()?)?.unsqueeze(0)?;
        let x = Tensor::cat(&[&self.class, &x], 1)?.broadcast_add(&self.positions)?;
        let mut x = self.norm_pre.apply(&x)?;
        for block in &self.blocks {
            x = block.apply(&x, None)?;
        }
        self.norm_post.apply(&x)?.squeeze(0)?.matmul(&self.projection)?.unsqueeze(0)
    }
}

struct Text {
    table: Tensor,
    positions: Tensor,
    mask: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    projection: Tensor,
}

impl Text {
    fn load(w: &mut Weights) -> Result<Text> {
        let positions = take(w, "positional_embedding")?;
        let (tokens, _) = positions.dims2()?;
        let mask = (0..tokens * tokens).map(|i| if i % tokens > i / tokens { f32::NEG_INFINITY } else { 0.0 }).collect();
        Ok(Text {
            table: take(w, "token_embedding.weight")?,
            mask: Tensor::from_vec(mask, (tokens, tokens), &Device::Cpu)?,
            positions,
            blocks: blocks(w, "transformer.resblocks")?,
            norm: Norm::load(w, "ln_final")?,
            projection: take(w, "text_projection")?,
        })
    }

    /// Ids `[P, 77]`, the end marker last, to `[P, D]`.
    fn apply(&self, ids: &Tensor) -> Result<Tensor> {
        let (prompts, tokens) = ids.dims2()?;
        let x = self.table.index_select(&ids.flatten_all()?, 0)?.reshape((prompts, tokens, ()))?;
        let mut x = x.broadcast_add(&self.positions)?;
        for block in &self.blocks {
            x = block.apply(&x, Some(&self.mask))?;
        }
        let last = x.narrow(1, tokens - 1, 1)?.contiguous()?;
        self.norm.apply(&last)?.squeeze(1)?.matmul(&self.projection)
    }
}

enum Tower {
    Vision(Vision, Vec<f32>, usize),
    Text(Text, Vec<u32>, usize, usize),
}

impl Tower {
    /// From the input on the host to the result on the host.
    fn run(&self) -> Result<Vec<f32>> {
        let output = match self {
            Tower::Vision(tower, pixels, size) => tower.apply(&Tensor::from_slice(pixels, (1, 3, *size, *size), &Device::Cpu)?)?,
            Tower::Text(tower, ids, prompts, tokens) => tower.apply(&Tensor::from_slice(ids, (*prompts, *tokens), &Device::Cpu)?)?,
        };
        output.flatten_all()?.to_vec1::<f32>()
    }
}

/// A fixed picture: smooth waves, about the range of a normalised photograph.
fn picture(size: usize) -> Vec<f32> {
    let at = |i: usize| {
        let (c, y, x) = (i / (size * size), i / size % size, i % size);
        ((x as f32 * 0.07 + c as f32).sin() + (y as f32 * 0.05).cos()) * 0.9
    };
    (0..3 * size * size).map(at).collect()
}

fn load(args: &Args) -> Result<Tower> {
    let mut w = candle_core::safetensors::load(&args.weights, &Device::Cpu)?;
    Ok(match args.texts {
        None => {
            let tower = Vision::load(&mut w)?;
            let (tokens, _) = tower.positions.dims2()?;
            let size = (tokens - 1).isqrt() * tower.patch;
            Tower::Vision(tower, picture(size), size)
        }
        Some(prompts) => {
            let tower = Text::load(&mut w)?;
            let ((tokens, _), (vocabulary, _)) = (tower.positions.dims2()?, tower.table.dims2()?);
            let ids = (0..prompts * tokens).map(|i| ((i * 7919 + 13) % vocabulary) as u32).collect();
            Tower::Text(tower, ids, prompts, tokens)
        }
    })
}

fn serve(args: &Args) -> std::result::Result<(), String> {
    let said = |error: candle_core::Error| error.to_string();
    let tower = load(args).map_err(|error| format!("{}: {error}", args.weights))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    eprintln!("candle-clip: ready on the CPU ({threads} threads), candle 0.11.1");
    for line in io::stdin().lock().lines() {
        line.map_err(|error| error.to_string())?;
        let clock = Instant::now();
        let output = tower.run().map_err(said)?;
        let ms = clock.elapsed().as_secs_f64() * 1e3;
        if output.iter().any(|v| !v.is_finite()) {
            return Err("the output is not finite".into());
        }
        if args.head {
            eprintln!("{} numbers: {:?} ... {:?}", output.len(), &output[..6], &output[output.len() - 6..]);
        }
        println!("{ms:.3}");
        io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(None) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Some(args)) => match serve(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("candle-clip: {message}");
                ExitCode::FAILURE
            }
        },
        Err(message) => {
            eprintln!("candle-clip: {message}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
