//! Attention over packed sequences, and its maps for those who look at them.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{
    attention as kernel, attention_scores as scores_kernel, softmax as softmax_kernel, unit_values as unit_kernel,
};
use crate::gpu::{Gpu, PlanBuilder, Tensor, Value};
use crate::ops::{expect_act, expect_dtype, fold, fold_threads, trie};
use crate::reference::{Heads, Projection, Segment};
use crate::shape::DType;

/// Rows of one workgroup, as in the WGSL: so many queries, or half as many by two paths.
const TILE: u32 = 32;
/// Channels of one workgroup, as in the WGSL.
const PART: u32 = 64;
/// Largest head size, as in the WGSL.
const MAX_HEAD: usize = 128;

/// The work list of an attention: which rows of which sequence each workgroup computes. Made once per packing.
#[derive(Clone, Debug)]
pub struct Tiles {
    /// For one path, and for two; a trie takes one.
    lists: [Option<List>; 2],
    trie: bool,
    rows: u32,
    sequences: u32,
    pairs: u64,
}

/// What one dispatch works off.
#[derive(Clone, Debug)]
struct List {
    table: Tensor,
    workgroups: u32,
}

impl Tiles {
    /// How many sequences; a trie counts as one.
    pub fn sequences(&self) -> u32 {
        self.sequences
    }

    /// For sequences that lie one behind the other in `rows` packed rows.
    ///
    /// # Errors
    /// A sequence that is empty or reaches beyond `rows`.
    pub fn new(gpu: &Gpu, segments: &[Segment], rows: u32) -> Result<Tiles> {
        for s in segments {
            if s.len == 0 || s.start.checked_add(s.len).is_none_or(|end| end > rows) {
                return Err(Error::shape(
                    "attention",
                    "segment",
                    format!("a range within {rows} rows"),
                    format!("{} rows from {}", s.len, s.start),
                ));
            }
        }
        if segments.is_empty() {
            return Err(Error::shape("attention", "segments", "at least one", "none"));
        }
        let list = |queries: u32| {
            let tiles = |s: &Segment| (0..s.len).step_by(queries as usize).map(|query| [s.start, s.len, query, 0]).collect::<Vec<_>>();
            let table: Vec<[u32; 4]> = segments.iter().flat_map(tiles).collect();
            List::upload(gpu, &table, table.len() as u32)
        };
        let pairs = segments.iter().map(|s| u64::from(s.len) * u64::from(s.len)).sum();
        let lists = [Some(list(TILE)?), Some(list(TILE / 2)?)];
        Ok(Tiles { lists, trie: false, rows, sequences: segments.len() as u32, pairs })
    }

    /// For texts that share their beginnings: rows in depth-first order, `ends[i]` behind the last descendant of row i.
    /// Row i sees row j if `j <= i < ends[j]`: itself and what leads to it.
    ///
    /// # Errors
    /// No row, or ends that are no trie.
    pub fn trie(gpu: &Gpu, ends: &[u32]) -> Result<Tiles> {
        let trie::TrieList { table, tiles, pairs } = trie::list(ends, TILE)?;
        let list = List::upload(gpu, &table, tiles)?;
        Ok(Tiles { lists: [Some(list), None], trie: true, rows: ends.len() as u32, sequences: 1, pairs })
    }

    /// For `images` sequences of equal length.
    ///
    /// # Errors
    /// As [`Tiles::new`].
    pub fn equal(gpu: &Gpu, images: u32, tokens: u32) -> Result<Tiles> {
        let segments: Vec<_> = (0..images).map(|i| Segment { start: i * tokens, len: tokens }).collect();
        Tiles::new(gpu, &segments, images * tokens)
    }
}

impl List {
    fn upload(gpu: &Gpu, table: &[[u32; 4]], workgroups: u32) -> Result<List> {
        Ok(List { table: gpu.upload("lancet.tiles", &[table.len() as u32, 4], DType::U32, table)?, workgroups })
    }
}

/// Operands of [`attention`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionArgs<'a> {
    /// `[T, 3 C]`: queries, keys, values; or `[T, 4 C]`, with what [`unit_values`] puts beside them.
    pub qkv: Value,
    /// The sequences.
    pub tiles: &'a Tiles,
    /// Heads and their size; C is the product.
    pub heads: Heads,
    /// Usually size^-0.5.
    pub scale: f32,
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
    const OP: &str = "attention";
    let AttentionArgs { qkv, tiles, heads, .. } = args;
    let width = check_heads(OP, qkv, heads, args.paths)?;
    if qkv.shape().rows() != tiles.rows {
        return Err(Error::shape(OP, "qkv", format!("{} rows", tiles.rows), qkv.shape()));
    }
    let (a, second) = match *args.paths {
        [a] => (a, a),
        [a, second] => (a, second),
        _ => return Err(Error::shape(OP, "paths", "one or two", args.paths.len())),
    };
    let paths = args.paths.len() as u32;
    let Some(list) = &tiles.lists[paths as usize - 1] else {
        return Err(Error::shape(OP, "paths", "one over a trie", paths));
    };
    let out = b.value(&[paths * tiles.rows, width], qkv.dtype())?;
    // A trie counts the pairs that see each other.
    let causal_share = if args.causal && !tiles.trie { 2 } else { 1 };
    b.dispatch(
        name,
        Dispatch {
            kernel: &kernel::KERNEL,
            act: qkv.dtype(),
            weight: DType::F32,
            constants: &[("TRIE", tiles.trie.into())],
            params: kernel::Params {
                head4: heads.size as u32 / 4,
                width4: width / 4,
                scale: args.scale,
                causal: args.causal.into(),
                a_query: a.0 as u32,
                a_key: a.1 as u32,
                b_query: second.0 as u32,
                b_key: second.1 as u32,
                rows: tiles.rows,
                paths,
                stride4: qkv.shape().width() / 4,
                ..Default::default()
            },
            args: &[Arg::Value(qkv), Arg::Tensor(&list.table), Arg::Value(out)],
            workgroups: [list.workgroups, heads.heads as u32, (heads.size as u32).div_ceil(PART)],
            flops: u64::from(paths) * 4 * tiles.pairs * u64::from(width) / causal_share,
        },
    )?;
    Ok(out)
}

/// Checks a matrix of projections; the width of one. Unit values, if a path wants them, are its fourth.
fn check_heads(op: &'static str, qkv: Value, heads: Heads, paths: &[(Projection, Projection)]) -> Result<u32> {
    expect_act(op, "qkv", qkv)?;
    let width = (heads.heads * heads.size) as u32;
    let parts = if paths.iter().any(|p| p.0 == Projection::UnitValue || p.1 == Projection::UnitValue) { 4 } else { 3 };
    if qkv.shape().width() != parts * width {
        return Err(Error::shape(op, "qkv", format!("[T, {parts} x {} heads x {}]", heads.heads, heads.size), qkv.shape()));
    }
    if heads.size == 0 || heads.size > MAX_HEAD || !heads.size.is_multiple_of(4) {
        return Err(Error::shape(op, "head size", format!("a multiple of 4 up to {MAX_HEAD}"), heads.size));
    }
    Ok(width)
}

/// Projections `[T, 3 C]` and, beside them, the values of each head divided by their length, times `length`
/// -> `[T, 4 C]`, stored as qkv is.
///
/// # Errors
/// Shapes that do not fit.
pub fn unit_values(b: &mut PlanBuilder, name: &str, qkv: Value, heads: Heads, length: f32) -> Result<Value> {
    let width = check_heads("unit_values", qkv, heads, &[])?;
    let rows = qkv.shape().rows();
    let y = b.value(&[rows, 4 * width], qkv.dtype())?;
    let count = u64::from(rows) * heads.heads as u64;
    let workgroups = fold_threads(b, count);
    b.dispatch(
        name,
        Dispatch {
            kernel: &unit_kernel::KERNEL,
            act: qkv.dtype(),
            weight: DType::F32,
            constants: &[],
            params: unit_kernel::Params { count: count as u32, heads: heads.heads as u32, head4: heads.size as u32 / 4, length },
            args: &[Arg::Value(qkv), Arg::Value(y)],
            workgroups,
            flops: 3 * u64::from(rows) * u64::from(width),
        },
    )?;
    Ok(y)
}

/// `scale P Q^T` per head -> f32 `[B, H, N, N]`, for `images` sequences of equal length.
///
/// # Errors
/// Shapes that do not fit.
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub fn attention_scores(
    b: &mut PlanBuilder,
    name: &str,
    qkv: Value,
    images: u32,
    heads: Heads,
    scale: f32,
    causal: bool,
    path: (Projection, Projection),
) -> Result<Value> {
    const OP: &str = "attention_scores";
    if path.0 == Projection::UnitValue || path.1 == Projection::UnitValue {
        return Err(Error::shape(OP, "path", "queries, keys or values", "unit values"));
    }
    let width = check_heads(OP, qkv, heads, &[])?;
    let rows = qkv.shape().rows();
    if images == 0 || !rows.is_multiple_of(images) {
        return Err(Error::shape(OP, "qkv", format!("rows for {images} equal sequences"), qkv.shape()));
    }
    let tokens = rows / images;
    let scores = b.value(&[images, heads.heads as u32, tokens, tokens], DType::F32)?;
    let total = scores.shape().elements();
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &scores_kernel::KERNEL,
            act: qkv.dtype(),
            weight: DType::F32,
            constants: &[],
            params: scores_kernel::Params {
                tokens,
                heads: heads.heads as u32,
                head4: heads.size as u32 / 4,
                width4: width / 4,
                scale,
                causal: causal.into(),
                query: path.0 as u32,
                key: path.1 as u32,
                total: total as u32,
                ..Default::default()
            },
            args: &[Arg::Value(qkv), Arg::Value(scores)],
            workgroups,
            flops: 2 * total * heads.size as u64,
        },
    )?;
    Ok(scores)
}

/// Softmax over the last dimension of an f32 value.
///
/// # Errors
/// Another element type.
pub fn softmax(b: &mut PlanBuilder, name: &str, x: Value) -> Result<Value> {
    expect_dtype("softmax", "x", x.dtype(), DType::F32)?;
    let p = b.value(x.shape().dims(), DType::F32)?;
    let (rows, width) = (x.shape().rows(), x.shape().width());
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &softmax_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: softmax_kernel::Params { rows, width, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(p)],
            workgroups,
            flops: 5 * x.shape().elements(),
        },
    )?;
    Ok(p)
}
