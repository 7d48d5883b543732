// y = weights x for the patches of each image; its class row is copied.
//
// weights [B, N, N4], f32, columns beyond N zero; x [B (1 + N), C] -> y [B (1 + N), C], stored as x is. Tiles as in `matmul`,
// K being the patches.
//
// include: common/act_{f32,f16}.wgsl
// include: common/register_tile.wgsl
// include: common/tile.wgsl

struct Params {
    n: u32,
    padded4: u32,   // N4 / 4
    width4: u32,    // C / 4
    lanes_n: u32,   // 1, 2, 4 or 8
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<Act4>;
@group(0) @binding(3) var<storage, read_write> y: array<Act4>;

fn row_base(image: u32, row: u32) -> u32 {
    return (image * params.n + min(row, params.n - 1u)) * params.padded4;
}

fn row_load(base: u32, k: u32) -> vec4<f32> {
    return weights[base + k];
}

// Where the row of a patch starts in x and y.
fn token(image: u32, patch_index: u32) -> u32 {
    return (image * (1u + params.n) + 1u + patch_index) * params.width4;
}

fn at(image: u32, column: u32, k: u32) -> vec4<f32> {
    // Beyond the last patch the weight is zero.
    return widen_act(x[token(image, min(k, params.n - 1u)) + min(column, params.width4 - 1u)]);
}

fn columns_load(image: u32, column: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        at(image, column, 4u * k), at(image, column, 4u * k + 1u), at(image, column, 4u * k + 2u), at(image, column, 4u * k + 3u),
    );
}

fn combine(a: vec4<f32>, b: mat4x4<f32>, acc: vec4<f32>) -> vec4<f32> {
    return step4(a, b, acc);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let image = group.z;
    let column = (group.x * params.lanes_n + lane % params.lanes_n) * 4u;
    let row = (group.y * (8u / params.lanes_n) + lane / params.lanes_n) * 25u;
    if (column >= params.width4 || row >= params.n) {
        return;
    }
    make_tile(lane, image, row, column, 0u, params.padded4);
    for (var c = column; c < min(column + 4u, params.width4); c += 1u) {
        for (var r = row; r < min(row + 25u, params.n); r += 1u) {
            y[token(image, r) + c] = narrow_act(parked[lane * 100u + (r - row) * 4u + c - column]);
        }
        if (row == 0u) {
            let class_row = image * (1u + params.n) * params.width4;
            y[class_row + c] = x[class_row + c];
        }
    }
}
