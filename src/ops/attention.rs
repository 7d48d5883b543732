//! Attention over packed sequences: one or two paths side by side, or a weighted sum of them.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{
    attention as kernel, attention_cooperative_16 as cooperative_kernel, attention_subgroup_32x4 as subgroup_kernel,
};
use crate::gpu::kernel::{Kernel, Need};
use crate::gpu::{Caps, PlanBuilder, Tensor, Value};
use crate::ops::choice::{Kernels, able, check, preferred};
use crate::ops::expect_act;
use crate::ops::tiles::Tiles;
use crate::reference::{Heads, Projection};
use crate::shape::DType;

/// Channels of one workgroup, as in the WGSL.
const PART: u32 = 64;
/// Largest head size, as in the WGSL.
const MAX_HEAD: usize = 128;

/// The kernels of attention; all do the same work by the same lists of it.
static KERNELS: &Kernels = &[&kernel::KERNEL, &cooperative_kernel::KERNEL, &subgroup_kernel::KERNEL];
/// What the one for CPU drivers takes head sizes to be multiples of.
const STEP: usize = 8;

/// Those that a device can run on heads of `size` channels, stored as `act`.
pub fn attention_kernels(caps: &Caps, size: usize, act: DType) -> impl Iterator<Item = &'static Kernel> {
    let subgroups = caps.subgroups;
    able(KERNELS, caps, move |k| fits(k, subgroups, size, act))
}

/// True if a kernel takes such heads and subgroups, and does not round.
fn fits(kernel: &Kernel, subgroups: Option<[u32; 2]>, size: usize, act: DType) -> bool {
    match kernel.need {
        // Two or four subgroups share its sums.
        Some(Need::Cooperative16) => act == DType::F16 && subgroups.is_some_and(|[least, most]| least >= 32 && most <= 64),
        _ => size.is_multiple_of(STEP),
    }
}

fn preferred_for(b: &PlanBuilder, heads: Heads, act: DType) -> &'static Kernel {
    let caps = &b.gpu().caps;
    preferred(KERNELS, caps, |k| fits(k, caps.subgroups, heads.size, act))
}

/// Operands of [`attention`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionArgs<'a> {
    /// `[T, 3 C]`: queries, keys, values; or `[T, 4 C]`, with what [`unit_values`](crate::ops::unit_values) puts beside them.
    pub qkv: Value,
    /// The sequences.
    pub tiles: &'a Tiles,
    /// Heads and their size; C is the product.
    pub heads: Heads,
    /// Usually size^-0.5.
    pub scale: f32,
    /// Scores become `cap tanh(score / cap)`; `None`: as they are.
    pub cap: Option<f32>,
    /// No key behind the query; in a trie none ever is.
    pub causal: bool,
    /// One or two pairs (P, Q): softmax(scale P Q^T) V each.
    pub paths: &'a [(Projection, Projection)],
}

/// One or two attentions over the same values -> `[T, C]` or `[2 T, C]`, path by path.
///
/// # Errors
/// Shapes that do not fit, a head larger than 128 or not a multiple of 4, no path or more than two, or two over a trie.
pub fn attention(b: &mut PlanBuilder, name: &str, args: AttentionArgs<'_>) -> Result<Value> {
    let kernel = preferred_for(b, args.heads, args.qkv.dtype());
    attention_by(b, name, args, kernel)
}

/// As [`attention`], by one of [`attention_kernels`].
///
/// # Errors
/// As [`attention`], or a kernel that the device cannot run.
pub fn attention_by(b: &mut PlanBuilder, name: &str, args: AttentionArgs<'_>, by: &'static Kernel) -> Result<Value> {
    const OP: &str = "attention";
    let AttentionArgs { qkv, tiles, heads, scale, cap, causal, paths } = args;
    let width = check_heads(OP, qkv, heads, paths)?;
    let params = kernel::Params {
        scale,
        causal: causal.into(),
        value_at4: 2 * width / 4,
        value_stride4: qkv.shape().width() / 4,
        cap: cap.unwrap_or_default(),
        ..columns(OP, paths.iter().map(|p| (p.0 as u32, p.1 as u32)))?
    };
    let out = b.value(&[paths.len() as u32 * tiles.rows, width], qkv.dtype())?;
    push(
        b,
        name,
        Work { by, tiles, heads, source: qkv, values: qkv, bias: None, base: None, out, sum: false, capped: cap.is_some() },
        params,
    )?;
    Ok(out)
}

/// P and Q of a term, each as its place among blocks of C columns, and the term's weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedPair {
    /// Which C columns of the source play P, and which Q: 0 the first C, 1 the next.
    pub columns: (u32, u32),
    /// What its softmax is multiplied by.
    pub weight: f32,
}

/// What scores gain, the same for all heads: R rows of keys, of which a sequence of `len` tokens uses the first `len`.
#[derive(Clone, Copy, Debug)]
pub enum Bias<'a> {
    /// `[R, R4]` f32 for every sequence; R4 is R rounded up to a multiple of 4.
    Shared(&'a Tensor),
    /// `[S, R, R4]` f32, one for each sequence; with [`Tiles::patches`] one for each image.
    Each(Value),
}

/// Operands of [`attention_sum`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionSum<'a> {
    /// Where P and Q lie: `[T, k C]`.
    pub source: Value,
    /// One term or two.
    pub terms: &'a [WeightedPair],
    /// Where V lies: `[T, m C]`.
    pub values: Value,
    /// Which C columns of it V is.
    pub value_column: u32,
    /// The sequences.
    pub tiles: &'a Tiles,
    /// Heads and their size; C is the product.
    pub heads: Heads,
    /// Usually size^-0.5. With 0 the scores are the bias alone.
    pub scale: f32,
    /// Scaled products become `cap tanh(product / cap)`; `None`: as they are.
    pub cap: Option<f32>,
    /// Added to the scores.
    pub bias: Option<Bias<'a>>,
    /// `[T, C]`, added to the result.
    pub base: Option<Value>,
}

/// `base + sum of weight * softmax(scale P Q^T + bias) V` -> `[T, C]`, the terms from one reading of V. Weights need not
/// sum to 1. P and Q may come from another block than V.
///
/// # Errors
/// As [`attention`]; columns that are not there, a bias too small for the sequences.
pub fn attention_sum(b: &mut PlanBuilder, name: &str, args: AttentionSum<'_>) -> Result<Value> {
    let kernel = preferred_for(b, args.heads, args.source.dtype());
    attention_sum_by(b, name, args, kernel)
}

/// As [`attention_sum`], by one of [`attention_kernels`].
///
/// # Errors
/// As [`attention_sum`], or a kernel that the device cannot run.
pub fn attention_sum_by(b: &mut PlanBuilder, name: &str, args: AttentionSum<'_>, by: &'static Kernel) -> Result<Value> {
    const OP: &str = "attention_sum";
    let AttentionSum { source, terms, values, value_column, tiles, heads, scale, cap, bias, base } = args;
    let width = check_size(OP, heads)?;
    for (what, x, column) in
        terms.iter().map(|t| ("source", source, t.columns.0.max(t.columns.1))).chain([("values", values, value_column)])
    {
        expect_act(OP, what, x)?;
        if x.shape().width() % width != 0 || (u64::from(column) + 1) * u64::from(width) > u64::from(x.shape().width()) {
            return Err(Error::shape(OP, what, format!("[T, more than {column} x {width}]"), x.shape()));
        }
        if x.shape().rows() != tiles.rows || x.dtype() != source.dtype() {
            return Err(Error::shape(OP, what, format!("{} rows of {}", tiles.rows, source.dtype()), x.shape()));
        }
    }
    if let Some(base) = base
        && (base.shape().dims() != [tiles.rows, width] || base.dtype() != source.dtype())
    {
        return Err(Error::shape(OP, "base", format!("[{}, {width}] of {}", tiles.rows, source.dtype()), base.shape()));
    }
    if tiles.trie {
        return Err(Error::shape(OP, "tiles", "sequences", "a trie"));
    }
    let (bias_rows, bias_stride) = match bias {
        None => (0, 0),
        Some(Bias::Shared(t)) => (0, check_bias(t.layout().dims(), t.dtype(), tiles)?),
        Some(Bias::Each(v)) => match *v.shape().dims() {
            [_, rows, stride] => (rows, check_bias(&[rows, stride], v.dtype(), tiles)?),
            _ => return Err(Error::shape(OP, "bias", "[S, R, R4]", v.shape())),
        },
    };
    let weight = |i: usize| terms.get(i).map_or(0.0, |t| t.weight);
    let params = kernel::Params {
        scale,
        value_at4: value_column * width / 4,
        value_stride4: values.shape().width() / 4,
        weight_a: weight(0),
        weight_b: weight(1),
        based: base.is_some().into(),
        bias_rows,
        bias_stride4: bias_stride / 4,
        cap: cap.unwrap_or_default(),
        ..columns(OP, terms.iter().map(|t| t.columns))?
    };
    let out = b.value(&[tiles.rows, width], source.dtype())?;
    push(b, name, Work { by, tiles, heads, source, values, bias, base, out, sum: true, capped: cap.is_some() }, params)?;
    Ok(out)
}

/// The row length of a bias, if it serves these sequences.
fn check_bias(dims: &[u32], dtype: DType, tiles: &Tiles) -> Result<u32> {
    match *dims {
        [rows, stride] if rows >= tiles.longest && stride >= rows && stride % 4 == 0 && dtype == DType::F32 => Ok(stride),
        _ => {
            let want = format!("f32 [R, R4] with R at least {} and R4 a multiple of 4", tiles.longest);
            Err(Error::shape("attention_sum", "bias", want, format!("{dtype} {dims:?}")))
        }
    }
}

/// The columns of one path or two.
fn columns(op: &'static str, mut paths: impl ExactSizeIterator<Item = (u32, u32)>) -> Result<kernel::Params> {
    let count = paths.len() as u32;
    let (Some(a), 1 | 2) = (paths.next(), count) else { return Err(Error::shape(op, "paths", "one or two", count)) };
    let second = paths.next().unwrap_or(a);
    Ok(kernel::Params { paths: count, a_query: a.0, a_key: a.1, b_query: second.0, b_key: second.1, ..Default::default() })
}

/// What a dispatch of the kernel reads and fills.
struct Work<'a> {
    by: &'static Kernel,
    tiles: &'a Tiles,
    heads: Heads,
    source: Value,
    values: Value,
    bias: Option<Bias<'a>>,
    base: Option<Value>,
    out: Value,
    sum: bool,
    capped: bool,
}

/// Pushes the step; `params` have columns, weights and scale already.
fn push(b: &mut PlanBuilder, name: &str, w: Work<'_>, params: kernel::Params) -> Result<()> {
    const OP: &str = "attention";
    let act = w.source.dtype();
    check(KERNELS, b, |k| fits(k, b.gpu().caps.subgroups, w.heads.size, act), w.by, OP, || format!("heads of {} in {act}", w.heads.size))?;
    let (tiles, heads) = (w.tiles, w.heads);
    let width = (heads.heads * heads.size) as u32;
    if w.source.shape().rows() != tiles.rows {
        return Err(Error::shape(OP, "qkv", format!("{} rows", tiles.rows), w.source.shape()));
    }
    let Some(list) = &tiles.lists[params.paths as usize - 1] else {
        return Err(Error::shape(OP, "paths", "one over a trie", params.paths));
    };
    // A trie counts the pairs that see each other.
    let causal_share = if params.causal != 0 && !tiles.trie { 2 } else { 1 };
    // What a variant does not read is bound to something that is there.
    let bias = match &w.bias {
        None => Arg::Value(w.source),
        Some(Bias::Shared(tensor)) => Arg::Tensor(tensor),
        Some(Bias::Each(value)) => Arg::Value(*value),
    };
    b.dispatch(
        name,
        Dispatch {
            kernel: w.by,
            act: w.source.dtype(),
            weight: DType::F32,
            constants: &[("TRIE", tiles.trie.into()), ("SUM", w.sum.into()), ("BIAS", w.bias.is_some().into()), ("CAP", w.capped.into())],
            params: kernel::Params {
                head4: heads.size as u32 / 4,
                width4: width / 4,
                rows: tiles.rows,
                stride4: w.source.shape().width() / 4,
                ..params
            },
            args: &[
                Arg::Value(w.source),
                Arg::Value(w.values),
                Arg::Tensor(&list.table),
                bias,
                Arg::Value(w.base.unwrap_or(w.values)),
                Arg::Value(w.out),
            ],
            workgroups: [list.workgroups, heads.heads as u32, (heads.size as u32).div_ceil(PART)],
            flops: u64::from(params.paths) * 4 * tiles.pairs * u64::from(width) / causal_share,
        },
    )
}

/// Checks a matrix of projections; the width of one. Unit values, if a path wants them, are its fourth.
pub(super) fn check_heads(op: &'static str, qkv: Value, heads: Heads, paths: &[(Projection, Projection)]) -> Result<u32> {
    expect_act(op, "qkv", qkv)?;
    let width = (heads.heads * heads.size) as u32;
    let parts = if paths.iter().any(|p| p.0 == Projection::UnitValue || p.1 == Projection::UnitValue) { 4 } else { 3 };
    if qkv.shape().width() != parts * width {
        return Err(Error::shape(op, "qkv", format!("[T, {parts} x {} heads x {}]", heads.heads, heads.size), qkv.shape()));
    }
    check_size(op, heads)
}

/// Checks the size of a head; the width of all.
fn check_size(op: &'static str, heads: Heads) -> Result<u32> {
    if heads.size == 0 || heads.size > MAX_HEAD || !heads.size.is_multiple_of(4) {
        return Err(Error::shape(op, "head size", format!("a multiple of 4 up to {MAX_HEAD}"), heads.size));
    }
    Ok((heads.heads * heads.size) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::kernel::kernels;

    #[test]
    fn the_list_is_the_family() {
        let family: Vec<_> = kernels::ALL.iter().filter(|k| k.family == kernel::KERNEL.name).map(|k| k.name).collect();
        assert_eq!(KERNELS.iter().map(|k| k.name).collect::<Vec<_>>(), family);
        assert_eq!(KERNELS[0].need, None, "what runs where nothing else does");
    }
}
