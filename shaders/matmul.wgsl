// y = activation(x w^T + bias) + residual
//
// x [M, K] (or a column range of a wider matrix), w [N, K] as linear layers store it, bias [N],
// residual rows < `split` from `residual`, the others from `residual_rest` -> y [M, N]. K and N multiples of 4.
//
// The split serves CLIP Surgery: one product with twice the rows projects both attention outputs of a dual block;
// its upper half continues the ordinary stream, its lower half the new one, whose previous value lies elsewhere.
//
// One thread makes a tile of 16 rows by 16 columns in registers: per step of 4 along K it loads 16 + 16 vectors for
// 1,024 multiply-adds. No workgroup memory: on a CPU driver a load costs as much as some 20 multiply-adds, on a GPU
// the caches serve it. A workgroup is 8 threads side by side in N. Edges: loads are clamped, stores are guarded.
//
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16}.wgsl
// include: common/gelu.wgsl

struct Params {
    m: u32,
    k4: u32,             // K / 4
    n4: u32,             // N / 4
    x_stride4: u32,      // row length of the matrix that holds x, / 4
    x_offset4: u32,      // first column of x in it, / 4
    activation: u32,     // 0 none, 1 QuickGELU, 2 exact GELU
    has_bias: u32,
    has_residual: u32,
    split: u32,          // rows below come from `residual`
    rest_row: u32,       // row of `residual_rest` that belongs to row `split`
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> weight: array<Weight4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<Act4>;
@group(0) @binding(5) var<storage, read> residual_rest: array<Act4>;
@group(0) @binding(6) var<storage, read_write> y: array<Act4>;

// Four steps along K of four columns: acc + sum over i of a[i] * b[i].
fn step4(a: vec4<f32>, b: mat4x4<f32>, acc: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(a.w), b[3], fma(vec4<f32>(a.z), b[2], fma(vec4<f32>(a.y), b[1], fma(vec4<f32>(a.x), b[0], acc))));
}

// Weights of columns 4 * column .. + 3 at K-step k, transposed: [i] holds the four columns' weight for K = 4 k + i.
fn columns(column: u32, k: u32) -> mat4x4<f32> {
    let at = min(column, params.n4 - 1u) * 4u * params.k4 + k;
    let w = mat4x4<f32>(
        widen_weight(weight[at]),
        widen_weight(weight[at + params.k4]),
        widen_weight(weight[at + 2u * params.k4]),
        widen_weight(weight[at + 3u * params.k4]),
    );
    return transpose(w);
}

fn x_base(row: u32) -> u32 {
    return min(row, params.m - 1u) * params.x_stride4 + params.x_offset4;
}

fn finish(row: u32, column: u32, acc: vec4<f32>) {
    if (row >= params.m || column >= params.n4) {
        return;
    }
    var v = acc;
    if (params.has_bias != 0u) {
        v += bias[column];
    }
    v = activate(params.activation, v);
    if (params.has_residual != 0u) {
        if (row < params.split) {
            v += widen_act(residual[row * params.n4 + column]);
        } else {
            v += widen_act(residual_rest[(row - params.split + params.rest_row) * params.n4 + column]);
        }
    }
    y[row * params.n4 + column] = narrow_act(v);
}

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x * 4u;
    let row = id.y * 16u;
    if (column >= params.n4) {
        return;
    }
    let x0 = x_base(row + 0u);
    let x1 = x_base(row + 1u);
    let x2 = x_base(row + 2u);
    let x3 = x_base(row + 3u);
    let x4 = x_base(row + 4u);
    let x5 = x_base(row + 5u);
    let x6 = x_base(row + 6u);
    let x7 = x_base(row + 7u);
    let x8 = x_base(row + 8u);
    let x9 = x_base(row + 9u);
    let xa = x_base(row + 10u);
    let xb = x_base(row + 11u);
    let xc = x_base(row + 12u);
    let xd = x_base(row + 13u);
    let xe = x_base(row + 14u);
    let xf = x_base(row + 15u);
    var acc00 = vec4<f32>(0.0); var acc01 = vec4<f32>(0.0); var acc02 = vec4<f32>(0.0); var acc03 = vec4<f32>(0.0);
    var acc10 = vec4<f32>(0.0); var acc11 = vec4<f32>(0.0); var acc12 = vec4<f32>(0.0); var acc13 = vec4<f32>(0.0);
    var acc20 = vec4<f32>(0.0); var acc21 = vec4<f32>(0.0); var acc22 = vec4<f32>(0.0); var acc23 = vec4<f32>(0.0);
    var acc30 = vec4<f32>(0.0); var acc31 = vec4<f32>(0.0); var acc32 = vec4<f32>(0.0); var acc33 = vec4<f32>(0.0);
    var acc40 = vec4<f32>(0.0); var acc41 = vec4<f32>(0.0); var acc42 = vec4<f32>(0.0); var acc43 = vec4<f32>(0.0);
    var acc50 = vec4<f32>(0.0); var acc51 = vec4<f32>(0.0); var acc52 = vec4<f32>(0.0); var acc53 = vec4<f32>(0.0);
    var acc60 = vec4<f32>(0.0); var acc61 = vec4<f32>(0.0); var acc62 = vec4<f32>(0.0); var acc63 = vec4<f32>(0.0);
    var acc70 = vec4<f32>(0.0); var acc71 = vec4<f32>(0.0); var acc72 = vec4<f32>(0.0); var acc73 = vec4<f32>(0.0);
    var acc80 = vec4<f32>(0.0); var acc81 = vec4<f32>(0.0); var acc82 = vec4<f32>(0.0); var acc83 = vec4<f32>(0.0);
    var acc90 = vec4<f32>(0.0); var acc91 = vec4<f32>(0.0); var acc92 = vec4<f32>(0.0); var acc93 = vec4<f32>(0.0);
    var acca0 = vec4<f32>(0.0); var acca1 = vec4<f32>(0.0); var acca2 = vec4<f32>(0.0); var acca3 = vec4<f32>(0.0);
    var accb0 = vec4<f32>(0.0); var accb1 = vec4<f32>(0.0); var accb2 = vec4<f32>(0.0); var accb3 = vec4<f32>(0.0);
    var accc0 = vec4<f32>(0.0); var accc1 = vec4<f32>(0.0); var accc2 = vec4<f32>(0.0); var accc3 = vec4<f32>(0.0);
    var accd0 = vec4<f32>(0.0); var accd1 = vec4<f32>(0.0); var accd2 = vec4<f32>(0.0); var accd3 = vec4<f32>(0.0);
    var acce0 = vec4<f32>(0.0); var acce1 = vec4<f32>(0.0); var acce2 = vec4<f32>(0.0); var acce3 = vec4<f32>(0.0);
    var accf0 = vec4<f32>(0.0); var accf1 = vec4<f32>(0.0); var accf2 = vec4<f32>(0.0); var accf3 = vec4<f32>(0.0);
    for (var k = 0u; k < params.k4; k += 1u) {
        let b0 = columns(column + 0u, k);
        let b1 = columns(column + 1u, k);
        let b2 = columns(column + 2u, k);
        let b3 = columns(column + 3u, k);
        let a0 = widen_act(x[x0 + k]);
        acc00 = step4(a0, b0, acc00); acc01 = step4(a0, b1, acc01); acc02 = step4(a0, b2, acc02); acc03 = step4(a0, b3, acc03);
        let a1 = widen_act(x[x1 + k]);
        acc10 = step4(a1, b0, acc10); acc11 = step4(a1, b1, acc11); acc12 = step4(a1, b2, acc12); acc13 = step4(a1, b3, acc13);
        let a2 = widen_act(x[x2 + k]);
        acc20 = step4(a2, b0, acc20); acc21 = step4(a2, b1, acc21); acc22 = step4(a2, b2, acc22); acc23 = step4(a2, b3, acc23);
        let a3 = widen_act(x[x3 + k]);
        acc30 = step4(a3, b0, acc30); acc31 = step4(a3, b1, acc31); acc32 = step4(a3, b2, acc32); acc33 = step4(a3, b3, acc33);
        let a4 = widen_act(x[x4 + k]);
        acc40 = step4(a4, b0, acc40); acc41 = step4(a4, b1, acc41); acc42 = step4(a4, b2, acc42); acc43 = step4(a4, b3, acc43);
        let a5 = widen_act(x[x5 + k]);
        acc50 = step4(a5, b0, acc50); acc51 = step4(a5, b1, acc51); acc52 = step4(a5, b2, acc52); acc53 = step4(a5, b3, acc53);
        let a6 = widen_act(x[x6 + k]);
        acc60 = step4(a6, b0, acc60); acc61 = step4(a6, b1, acc61); acc62 = step4(a6, b2, acc62); acc63 = step4(a6, b3, acc63);
        let a7 = widen_act(x[x7 + k]);
        acc70 = step4(a7, b0, acc70); acc71 = step4(a7, b1, acc71); acc72 = step4(a7, b2, acc72); acc73 = step4(a7, b3, acc73);
        let a8 = widen_act(x[x8 + k]);
        acc80 = step4(a8, b0, acc80); acc81 = step4(a8, b1, acc81); acc82 = step4(a8, b2, acc82); acc83 = step4(a8, b3, acc83);
        let a9 = widen_act(x[x9 + k]);
        acc90 = step4(a9, b0, acc90); acc91 = step4(a9, b1, acc91); acc92 = step4(a9, b2, acc92); acc93 = step4(a9, b3, acc93);
        let aa = widen_act(x[xa + k]);
        acca0 = step4(aa, b0, acca0); acca1 = step4(aa, b1, acca1); acca2 = step4(aa, b2, acca2); acca3 = step4(aa, b3, acca3);
        let ab = widen_act(x[xb + k]);
        accb0 = step4(ab, b0, accb0); accb1 = step4(ab, b1, accb1); accb2 = step4(ab, b2, accb2); accb3 = step4(ab, b3, accb3);
        let ac = widen_act(x[xc + k]);
        accc0 = step4(ac, b0, accc0); accc1 = step4(ac, b1, accc1); accc2 = step4(ac, b2, accc2); accc3 = step4(ac, b3, accc3);
        let ad = widen_act(x[xd + k]);
        accd0 = step4(ad, b0, accd0); accd1 = step4(ad, b1, accd1); accd2 = step4(ad, b2, accd2); accd3 = step4(ad, b3, accd3);
        let ae = widen_act(x[xe + k]);
        acce0 = step4(ae, b0, acce0); acce1 = step4(ae, b1, acce1); acce2 = step4(ae, b2, acce2); acce3 = step4(ae, b3, acce3);
        let af = widen_act(x[xf + k]);
        accf0 = step4(af, b0, accf0); accf1 = step4(af, b1, accf1); accf2 = step4(af, b2, accf2); accf3 = step4(af, b3, accf3);
    }
    finish(row + 0u, column + 0u, acc00);
    finish(row + 0u, column + 1u, acc01);
    finish(row + 0u, column + 2u, acc02);
    finish(row + 0u, column + 3u, acc03);
    finish(row + 1u, column + 0u, acc10);
    finish(row + 1u, column + 1u, acc11);
    finish(row + 1u, column + 2u, acc12);
    finish(row + 1u, column + 3u, acc13);
    finish(row + 2u, column + 0u, acc20);
    finish(row + 2u, column + 1u, acc21);
    finish(row + 2u, column + 2u, acc22);
    finish(row + 2u, column + 3u, acc23);
    finish(row + 3u, column + 0u, acc30);
    finish(row + 3u, column + 1u, acc31);
    finish(row + 3u, column + 2u, acc32);
    finish(row + 3u, column + 3u, acc33);
    finish(row + 4u, column + 0u, acc40);
    finish(row + 4u, column + 1u, acc41);
    finish(row + 4u, column + 2u, acc42);
    finish(row + 4u, column + 3u, acc43);
    finish(row + 5u, column + 0u, acc50);
    finish(row + 5u, column + 1u, acc51);
    finish(row + 5u, column + 2u, acc52);
    finish(row + 5u, column + 3u, acc53);
    finish(row + 6u, column + 0u, acc60);
    finish(row + 6u, column + 1u, acc61);
    finish(row + 6u, column + 2u, acc62);
    finish(row + 6u, column + 3u, acc63);
    finish(row + 7u, column + 0u, acc70);
    finish(row + 7u, column + 1u, acc71);
    finish(row + 7u, column + 2u, acc72);
    finish(row + 7u, column + 3u, acc73);
    finish(row + 8u, column + 0u, acc80);
    finish(row + 8u, column + 1u, acc81);
    finish(row + 8u, column + 2u, acc82);
    finish(row + 8u, column + 3u, acc83);
    finish(row + 9u, column + 0u, acc90);
    finish(row + 9u, column + 1u, acc91);
    finish(row + 9u, column + 2u, acc92);
    finish(row + 9u, column + 3u, acc93);
    finish(row + 10u, column + 0u, acca0);
    finish(row + 10u, column + 1u, acca1);
    finish(row + 10u, column + 2u, acca2);
    finish(row + 10u, column + 3u, acca3);
    finish(row + 11u, column + 0u, accb0);
    finish(row + 11u, column + 1u, accb1);
    finish(row + 11u, column + 2u, accb2);
    finish(row + 11u, column + 3u, accb3);
    finish(row + 12u, column + 0u, accc0);
    finish(row + 12u, column + 1u, accc1);
    finish(row + 12u, column + 2u, accc2);
    finish(row + 12u, column + 3u, accc3);
    finish(row + 13u, column + 0u, accd0);
    finish(row + 13u, column + 1u, accd1);
    finish(row + 13u, column + 2u, accd2);
    finish(row + 13u, column + 3u, accd3);
    finish(row + 14u, column + 0u, acce0);
    finish(row + 14u, column + 1u, acce1);
    finish(row + 14u, column + 2u, acce2);
    finish(row + 14u, column + 3u, acce3);
    finish(row + 15u, column + 0u, accf0);
    finish(row + 15u, column + 1u, accf1);
    finish(row + 15u, column + 2u, accf2);
    finish(row + 15u, column + 3u, accf3);
}
