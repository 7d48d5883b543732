// Patches of an image times the patch convolution, class token in front, positions added: straight from pixels.
//
// pixels [B, 3, H, W], weight [C, 3 p p], class_token [C], positions [1 + N, C] -> y [B, 1 + N, C]; with
// `prefix` = 0 only the convolution, y [B, N, C]. N = floor(H / p) floor(W / p), row-major; what lies beyond the
// last whole patch is ignored. p even, so that 3 p p is a multiple of 4.
//
// A matrix product whose left side is gathered: one thread makes 8 rows x 16 channels, as `matmul` does; the four
// pixel offsets of a step along K are the same for all its patches. A workgroup is 8 threads side by side in C.
//
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16}.wgsl
// include: common/patch_embed_params.wgsl
// include: common/columns.wgsl
// include: common/tile.wgsl

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<Weight4>;
@group(0) @binding(3) var<storage, read> class_token: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> positions: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<Act4>;

// The finished tile, each thread its own slice: one loop stores it instead of 32 copies of the code, which a CPU driver
// would take a second to compile.
var<workgroup> parked: array<vec4<f32>, 256>;   // [8 threads, 8 rows, 4 columns]

fn load(base: u32, at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(pixels[base + at.x], pixels[base + at.y], pixels[base + at.z], pixels[base + at.w]);
}

fn finish(row: u32, column: u32, acc: vec4<f32>) {
    var v = acc;
    if (params.prefix != 0u) {
        let token = row % params.tokens;
        if (token == 0u) {
            v = class_token[column];
        }
        v += positions[token * params.width4 + column];
    }
    y[row * params.width4 + column] = narrow_act(v);
}

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = id.x * 4u;
    let row = id.y * 8u;
    if (column >= params.width4) {
        return;
    }
    let corner0 = corner(row + 0u);
    let corner1 = corner(row + 1u);
    let corner2 = corner(row + 2u);
    let corner3 = corner(row + 3u);
    let corner4 = corner(row + 4u);
    let corner5 = corner(row + 5u);
    let corner6 = corner(row + 6u);
    let corner7 = corner(row + 7u);
    var acc00 = vec4<f32>(0.0); var acc01 = vec4<f32>(0.0); var acc02 = vec4<f32>(0.0); var acc03 = vec4<f32>(0.0);
    var acc10 = vec4<f32>(0.0); var acc11 = vec4<f32>(0.0); var acc12 = vec4<f32>(0.0); var acc13 = vec4<f32>(0.0);
    var acc20 = vec4<f32>(0.0); var acc21 = vec4<f32>(0.0); var acc22 = vec4<f32>(0.0); var acc23 = vec4<f32>(0.0);
    var acc30 = vec4<f32>(0.0); var acc31 = vec4<f32>(0.0); var acc32 = vec4<f32>(0.0); var acc33 = vec4<f32>(0.0);
    var acc40 = vec4<f32>(0.0); var acc41 = vec4<f32>(0.0); var acc42 = vec4<f32>(0.0); var acc43 = vec4<f32>(0.0);
    var acc50 = vec4<f32>(0.0); var acc51 = vec4<f32>(0.0); var acc52 = vec4<f32>(0.0); var acc53 = vec4<f32>(0.0);
    var acc60 = vec4<f32>(0.0); var acc61 = vec4<f32>(0.0); var acc62 = vec4<f32>(0.0); var acc63 = vec4<f32>(0.0);
    var acc70 = vec4<f32>(0.0); var acc71 = vec4<f32>(0.0); var acc72 = vec4<f32>(0.0); var acc73 = vec4<f32>(0.0);
    for (var k = 0u; k < params.k4; k += 1u) {
        let at = vec4<u32>(pixel(4u * k), pixel(4u * k + 1u), pixel(4u * k + 2u), pixel(4u * k + 3u));
        let b0 = columns(column + 0u, params.width4, k, params.k4);
        let b1 = columns(column + 1u, params.width4, k, params.k4);
        let b2 = columns(column + 2u, params.width4, k, params.k4);
        let b3 = columns(column + 3u, params.width4, k, params.k4);
        let a0 = load(corner0, at);
        acc00 = step4(a0, b0, acc00); acc01 = step4(a0, b1, acc01); acc02 = step4(a0, b2, acc02); acc03 = step4(a0, b3, acc03);
        let a1 = load(corner1, at);
        acc10 = step4(a1, b0, acc10); acc11 = step4(a1, b1, acc11); acc12 = step4(a1, b2, acc12); acc13 = step4(a1, b3, acc13);
        let a2 = load(corner2, at);
        acc20 = step4(a2, b0, acc20); acc21 = step4(a2, b1, acc21); acc22 = step4(a2, b2, acc22); acc23 = step4(a2, b3, acc23);
        let a3 = load(corner3, at);
        acc30 = step4(a3, b0, acc30); acc31 = step4(a3, b1, acc31); acc32 = step4(a3, b2, acc32); acc33 = step4(a3, b3, acc33);
        let a4 = load(corner4, at);
        acc40 = step4(a4, b0, acc40); acc41 = step4(a4, b1, acc41); acc42 = step4(a4, b2, acc42); acc43 = step4(a4, b3, acc43);
        let a5 = load(corner5, at);
        acc50 = step4(a5, b0, acc50); acc51 = step4(a5, b1, acc51); acc52 = step4(a5, b2, acc52); acc53 = step4(a5, b3, acc53);
        let a6 = load(corner6, at);
        acc60 = step4(a6, b0, acc60); acc61 = step4(a6, b1, acc61); acc62 = step4(a6, b2, acc62); acc63 = step4(a6, b3, acc63);
        let a7 = load(corner7, at);
        acc70 = step4(a7, b0, acc70); acc71 = step4(a7, b1, acc71); acc72 = step4(a7, b2, acc72); acc73 = step4(a7, b3, acc73);
    }
    let mine = lane * 32u;
    parked[mine + 0u] = acc00; parked[mine + 1u] = acc01; parked[mine + 2u] = acc02; parked[mine + 3u] = acc03;
    parked[mine + 4u] = acc10; parked[mine + 5u] = acc11; parked[mine + 6u] = acc12; parked[mine + 7u] = acc13;
    parked[mine + 8u] = acc20; parked[mine + 9u] = acc21; parked[mine + 10u] = acc22; parked[mine + 11u] = acc23;
    parked[mine + 12u] = acc30; parked[mine + 13u] = acc31; parked[mine + 14u] = acc32; parked[mine + 15u] = acc33;
    parked[mine + 16u] = acc40; parked[mine + 17u] = acc41; parked[mine + 18u] = acc42; parked[mine + 19u] = acc43;
    parked[mine + 20u] = acc50; parked[mine + 21u] = acc51; parked[mine + 22u] = acc52; parked[mine + 23u] = acc53;
    parked[mine + 24u] = acc60; parked[mine + 25u] = acc61; parked[mine + 26u] = acc62; parked[mine + 27u] = acc63;
    parked[mine + 28u] = acc70; parked[mine + 29u] = acc71; parked[mine + 30u] = acc72; parked[mine + 31u] = acc73;
    for (var r = row; r < min(row + 8u, params.rows); r += 1u) {
        for (var c = column; c < min(column + 4u, params.width4); c += 1u) {
            finish(r, c, parked[mine + (r - row) * 4u + c - column]);
        }
    }
}
