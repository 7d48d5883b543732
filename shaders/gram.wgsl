// y = scale x x^T per image: products of all pairs of its rows; or their squared distances.
//
// x [B tokens, K], of each image rows `first` .. `first + n` -> y [B, n, n], f32. Exactly symmetric: both halves do the same
// sums in the same order. Distances are sums of squared differences, zero on the diagonal; from products they would lose
// the digits by which close neighbours differ. Tiles as in `matmul`.
//
// include: common/act_{f32,f16}.wgsl
// include: common/register_tile.wgsl
// include: common/tile.wgsl

override DISTANCES = 0u;   // 0 products, 1 squared distances: a constant, it sits in the inner loop

struct Params {
    n: u32,
    k4: u32,        // K / 4
    tokens: u32,    // rows of an image in x
    first: u32,     // rows before the first that counts
    lanes_n: u32,   // 1, 2, 4 or 8
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn row_base(image: u32, row: u32) -> u32 {
    return (image * params.tokens + params.first + min(row, params.n - 1u)) * params.k4;
}

fn row_load(base: u32, k: u32) -> vec4<f32> {
    return widen_act(x[base + k]);
}

fn columns_load(image: u32, column: u32, k: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        row_load(row_base(image, column * 4u), k),
        row_load(row_base(image, column * 4u + 1u), k),
        row_load(row_base(image, column * 4u + 2u), k),
        row_load(row_base(image, column * 4u + 3u), k),
    ));
}

fn combine(a: vec4<f32>, b: mat4x4<f32>, acc: vec4<f32>) -> vec4<f32> {
    if (DISTANCES == 0u) {
        return step4(a, b, acc);
    }
    let d0 = a.x - b[0];
    let d1 = a.y - b[1];
    let d2 = a.z - b[2];
    let d3 = a.w - b[3];
    return fma(d3, d3, fma(d2, d2, fma(d1, d1, fma(d0, d0, acc))));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let image = group.z;
    let column = (group.x * params.lanes_n + lane % params.lanes_n) * 4u;
    let row = (group.y * (8u / params.lanes_n) + lane / params.lanes_n) * 25u;
    if (column * 4u >= params.n || row >= params.n) {
        return;
    }
    make_tile(lane, image, row, column, 0u, params.k4);
    let left = column * 4u;
    for (var r = row; r < min(row + 25u, params.n); r += 1u) {
        for (var c = left; c < min(left + 16u, params.n); c += 1u) {
            let four = parked[lane * 100u + (r - row) * 4u + (c - left) / 4u];
            y[(image * params.n + r) * params.n + c] = params.scale * four[c % 4u];
        }
    }
}
