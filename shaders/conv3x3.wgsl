// y = activation(conv3x3(x) + bias), stride 1, a border of one zero pixel: an implicit GEMM over channels-last maps.
//
// x [B H W, C], weight [N, 3, 3, C] (channels last), bias [N] -> y [B H W, N]. C and N multiples of 4.
//
// A product of `matmul`'s shape whose left side is never written out: row r of it holds the nine neighbours of pixel r,
// K = 9 C. Neighbours lie at fixed distances, so a tap is the same loop as a 1x1 convolution over rows that begin
// elsewhere; those beyond the border are zeros. Pixels are counted through images: y tells where one ends.
//
// Tile, parking and reasons as in `matmul`: a thread 25 rows by 16 columns. The 8 threads of a workgroup lie `lanes_n`
// side by side in N and the rest below each other, since a ResNet's first layers have 32 and 64 channels only.
//
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16}.wgsl
// include: common/conv3x3_params.wgsl
// include: common/columns.wgsl
// include: common/tile.wgsl
// include: common/gelu.wgsl

const OUTSIDE = 0xffffffffu;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> weight: array<Weight4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<Act4>;

var<workgroup> parked: array<vec4<f32>, 800>;   // [8 threads, 25 rows, 4 columns]

// First vector of the neighbour of pixel `row` at (dx - 1, dy - 1), or OUTSIDE.
fn neighbour(row: u32, at: u32, dx: u32, dy: u32) -> u32 {
    let inside = is_inside(at, dx, dy);
    return select(OUTSIDE, (min(row, params.rows - 1u) + dy * params.map_width + dx - params.map_width - 1u) * params.c4, inside);
}

fn load(base: u32, k: u32) -> vec4<f32> {
    let inside = base != OUTSIDE;
    return select(vec4<f32>(0.0), widen_act(x[select(0u, base + k, inside)]), inside);
}

fn finish(row: u32, column: u32, acc: vec4<f32>) {
    y[row * params.n4 + column] = narrow_act(activate(params.activation, acc + bias[column]));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = (group.x * params.lanes_n + lane % params.lanes_n) * 4u;
    let row = (group.y * (8u / params.lanes_n) + lane / params.lanes_n) * 25u;
    if (column >= params.n4 || row >= params.rows) {
        return;
    }
    let at0 = place(row + 0u);
    let at1 = place(row + 1u);
    let at2 = place(row + 2u);
    let at3 = place(row + 3u);
    let at4 = place(row + 4u);
    let at5 = place(row + 5u);
    let at6 = place(row + 6u);
    let at7 = place(row + 7u);
    let at8 = place(row + 8u);
    let at9 = place(row + 9u);
    let at10 = place(row + 10u);
    let at11 = place(row + 11u);
    let at12 = place(row + 12u);
    let at13 = place(row + 13u);
    let at14 = place(row + 14u);
    let at15 = place(row + 15u);
    let at16 = place(row + 16u);
    let at17 = place(row + 17u);
    let at18 = place(row + 18u);
    let at19 = place(row + 19u);
    let at20 = place(row + 20u);
    let at21 = place(row + 21u);
    let at22 = place(row + 22u);
    let at23 = place(row + 23u);
    let at24 = place(row + 24u);
    var acc0_0 = vec4<f32>(0.0); var acc0_1 = vec4<f32>(0.0); var acc0_2 = vec4<f32>(0.0); var acc0_3 = vec4<f32>(0.0);
    var acc1_0 = vec4<f32>(0.0); var acc1_1 = vec4<f32>(0.0); var acc1_2 = vec4<f32>(0.0); var acc1_3 = vec4<f32>(0.0);
    var acc2_0 = vec4<f32>(0.0); var acc2_1 = vec4<f32>(0.0); var acc2_2 = vec4<f32>(0.0); var acc2_3 = vec4<f32>(0.0);
    var acc3_0 = vec4<f32>(0.0); var acc3_1 = vec4<f32>(0.0); var acc3_2 = vec4<f32>(0.0); var acc3_3 = vec4<f32>(0.0);
    var acc4_0 = vec4<f32>(0.0); var acc4_1 = vec4<f32>(0.0); var acc4_2 = vec4<f32>(0.0); var acc4_3 = vec4<f32>(0.0);
    var acc5_0 = vec4<f32>(0.0); var acc5_1 = vec4<f32>(0.0); var acc5_2 = vec4<f32>(0.0); var acc5_3 = vec4<f32>(0.0);
    var acc6_0 = vec4<f32>(0.0); var acc6_1 = vec4<f32>(0.0); var acc6_2 = vec4<f32>(0.0); var acc6_3 = vec4<f32>(0.0);
    var acc7_0 = vec4<f32>(0.0); var acc7_1 = vec4<f32>(0.0); var acc7_2 = vec4<f32>(0.0); var acc7_3 = vec4<f32>(0.0);
    var acc8_0 = vec4<f32>(0.0); var acc8_1 = vec4<f32>(0.0); var acc8_2 = vec4<f32>(0.0); var acc8_3 = vec4<f32>(0.0);
    var acc9_0 = vec4<f32>(0.0); var acc9_1 = vec4<f32>(0.0); var acc9_2 = vec4<f32>(0.0); var acc9_3 = vec4<f32>(0.0);
    var acc10_0 = vec4<f32>(0.0); var acc10_1 = vec4<f32>(0.0); var acc10_2 = vec4<f32>(0.0); var acc10_3 = vec4<f32>(0.0);
    var acc11_0 = vec4<f32>(0.0); var acc11_1 = vec4<f32>(0.0); var acc11_2 = vec4<f32>(0.0); var acc11_3 = vec4<f32>(0.0);
    var acc12_0 = vec4<f32>(0.0); var acc12_1 = vec4<f32>(0.0); var acc12_2 = vec4<f32>(0.0); var acc12_3 = vec4<f32>(0.0);
    var acc13_0 = vec4<f32>(0.0); var acc13_1 = vec4<f32>(0.0); var acc13_2 = vec4<f32>(0.0); var acc13_3 = vec4<f32>(0.0);
    var acc14_0 = vec4<f32>(0.0); var acc14_1 = vec4<f32>(0.0); var acc14_2 = vec4<f32>(0.0); var acc14_3 = vec4<f32>(0.0);
    var acc15_0 = vec4<f32>(0.0); var acc15_1 = vec4<f32>(0.0); var acc15_2 = vec4<f32>(0.0); var acc15_3 = vec4<f32>(0.0);
    var acc16_0 = vec4<f32>(0.0); var acc16_1 = vec4<f32>(0.0); var acc16_2 = vec4<f32>(0.0); var acc16_3 = vec4<f32>(0.0);
    var acc17_0 = vec4<f32>(0.0); var acc17_1 = vec4<f32>(0.0); var acc17_2 = vec4<f32>(0.0); var acc17_3 = vec4<f32>(0.0);
    var acc18_0 = vec4<f32>(0.0); var acc18_1 = vec4<f32>(0.0); var acc18_2 = vec4<f32>(0.0); var acc18_3 = vec4<f32>(0.0);
    var acc19_0 = vec4<f32>(0.0); var acc19_1 = vec4<f32>(0.0); var acc19_2 = vec4<f32>(0.0); var acc19_3 = vec4<f32>(0.0);
    var acc20_0 = vec4<f32>(0.0); var acc20_1 = vec4<f32>(0.0); var acc20_2 = vec4<f32>(0.0); var acc20_3 = vec4<f32>(0.0);
    var acc21_0 = vec4<f32>(0.0); var acc21_1 = vec4<f32>(0.0); var acc21_2 = vec4<f32>(0.0); var acc21_3 = vec4<f32>(0.0);
    var acc22_0 = vec4<f32>(0.0); var acc22_1 = vec4<f32>(0.0); var acc22_2 = vec4<f32>(0.0); var acc22_3 = vec4<f32>(0.0);
    var acc23_0 = vec4<f32>(0.0); var acc23_1 = vec4<f32>(0.0); var acc23_2 = vec4<f32>(0.0); var acc23_3 = vec4<f32>(0.0);
    var acc24_0 = vec4<f32>(0.0); var acc24_1 = vec4<f32>(0.0); var acc24_2 = vec4<f32>(0.0); var acc24_3 = vec4<f32>(0.0);
    for (var tap = 0u; tap < 9u; tap += 1u) {
        let dx = tap % 3u;
        let dy = tap / 3u;
        let first = tap * params.c4;
        let x0 = neighbour(row + 0u, at0, dx, dy);
        let x1 = neighbour(row + 1u, at1, dx, dy);
        let x2 = neighbour(row + 2u, at2, dx, dy);
        let x3 = neighbour(row + 3u, at3, dx, dy);
        let x4 = neighbour(row + 4u, at4, dx, dy);
        let x5 = neighbour(row + 5u, at5, dx, dy);
        let x6 = neighbour(row + 6u, at6, dx, dy);
        let x7 = neighbour(row + 7u, at7, dx, dy);
        let x8 = neighbour(row + 8u, at8, dx, dy);
        let x9 = neighbour(row + 9u, at9, dx, dy);
        let x10 = neighbour(row + 10u, at10, dx, dy);
        let x11 = neighbour(row + 11u, at11, dx, dy);
        let x12 = neighbour(row + 12u, at12, dx, dy);
        let x13 = neighbour(row + 13u, at13, dx, dy);
        let x14 = neighbour(row + 14u, at14, dx, dy);
        let x15 = neighbour(row + 15u, at15, dx, dy);
        let x16 = neighbour(row + 16u, at16, dx, dy);
        let x17 = neighbour(row + 17u, at17, dx, dy);
        let x18 = neighbour(row + 18u, at18, dx, dy);
        let x19 = neighbour(row + 19u, at19, dx, dy);
        let x20 = neighbour(row + 20u, at20, dx, dy);
        let x21 = neighbour(row + 21u, at21, dx, dy);
        let x22 = neighbour(row + 22u, at22, dx, dy);
        let x23 = neighbour(row + 23u, at23, dx, dy);
        let x24 = neighbour(row + 24u, at24, dx, dy);
        for (var k = 0u; k < params.c4; k += 1u) {
            let b0 = columns(column + 0u, params.n4, first + k, 9u * params.c4);
            let b1 = columns(column + 1u, params.n4, first + k, 9u * params.c4);
            let b2 = columns(column + 2u, params.n4, first + k, 9u * params.c4);
            let b3 = columns(column + 3u, params.n4, first + k, 9u * params.c4);
            let a0 = load(x0, k);
            acc0_0 = step4(a0, b0, acc0_0); acc0_1 = step4(a0, b1, acc0_1); acc0_2 = step4(a0, b2, acc0_2); acc0_3 = step4(a0, b3, acc0_3);
            let a1 = load(x1, k);
            acc1_0 = step4(a1, b0, acc1_0); acc1_1 = step4(a1, b1, acc1_1); acc1_2 = step4(a1, b2, acc1_2); acc1_3 = step4(a1, b3, acc1_3);
            let a2 = load(x2, k);
            acc2_0 = step4(a2, b0, acc2_0); acc2_1 = step4(a2, b1, acc2_1); acc2_2 = step4(a2, b2, acc2_2); acc2_3 = step4(a2, b3, acc2_3);
            let a3 = load(x3, k);
            acc3_0 = step4(a3, b0, acc3_0); acc3_1 = step4(a3, b1, acc3_1); acc3_2 = step4(a3, b2, acc3_2); acc3_3 = step4(a3, b3, acc3_3);
            let a4 = load(x4, k);
            acc4_0 = step4(a4, b0, acc4_0); acc4_1 = step4(a4, b1, acc4_1); acc4_2 = step4(a4, b2, acc4_2); acc4_3 = step4(a4, b3, acc4_3);
            let a5 = load(x5, k);
            acc5_0 = step4(a5, b0, acc5_0); acc5_1 = step4(a5, b1, acc5_1); acc5_2 = step4(a5, b2, acc5_2); acc5_3 = step4(a5, b3, acc5_3);
            let a6 = load(x6, k);
            acc6_0 = step4(a6, b0, acc6_0); acc6_1 = step4(a6, b1, acc6_1); acc6_2 = step4(a6, b2, acc6_2); acc6_3 = step4(a6, b3, acc6_3);
            let a7 = load(x7, k);
            acc7_0 = step4(a7, b0, acc7_0); acc7_1 = step4(a7, b1, acc7_1); acc7_2 = step4(a7, b2, acc7_2); acc7_3 = step4(a7, b3, acc7_3);
            let a8 = load(x8, k);
            acc8_0 = step4(a8, b0, acc8_0); acc8_1 = step4(a8, b1, acc8_1); acc8_2 = step4(a8, b2, acc8_2); acc8_3 = step4(a8, b3, acc8_3);
            let a9 = load(x9, k);
            acc9_0 = step4(a9, b0, acc9_0); acc9_1 = step4(a9, b1, acc9_1); acc9_2 = step4(a9, b2, acc9_2); acc9_3 = step4(a9, b3, acc9_3);
            let a10 = load(x10, k);
            acc10_0 = step4(a10, b0, acc10_0); acc10_1 = step4(a10, b1, acc10_1); acc10_2 = step4(a10, b2, acc10_2); acc10_3 = step4(a10, b3, acc10_3);
            let a11 = load(x11, k);
            acc11_0 = step4(a11, b0, acc11_0); acc11_1 = step4(a11, b1, acc11_1); acc11_2 = step4(a11, b2, acc11_2); acc11_3 = step4(a11, b3, acc11_3);
            let a12 = load(x12, k);
            acc12_0 = step4(a12, b0, acc12_0); acc12_1 = step4(a12, b1, acc12_1); acc12_2 = step4(a12, b2, acc12_2); acc12_3 = step4(a12, b3, acc12_3);
            let a13 = load(x13, k);
            acc13_0 = step4(a13, b0, acc13_0); acc13_1 = step4(a13, b1, acc13_1); acc13_2 = step4(a13, b2, acc13_2); acc13_3 = step4(a13, b3, acc13_3);
            let a14 = load(x14, k);
            acc14_0 = step4(a14, b0, acc14_0); acc14_1 = step4(a14, b1, acc14_1); acc14_2 = step4(a14, b2, acc14_2); acc14_3 = step4(a14, b3, acc14_3);
            let a15 = load(x15, k);
            acc15_0 = step4(a15, b0, acc15_0); acc15_1 = step4(a15, b1, acc15_1); acc15_2 = step4(a15, b2, acc15_2); acc15_3 = step4(a15, b3, acc15_3);
            let a16 = load(x16, k);
            acc16_0 = step4(a16, b0, acc16_0); acc16_1 = step4(a16, b1, acc16_1); acc16_2 = step4(a16, b2, acc16_2); acc16_3 = step4(a16, b3, acc16_3);
            let a17 = load(x17, k);
            acc17_0 = step4(a17, b0, acc17_0); acc17_1 = step4(a17, b1, acc17_1); acc17_2 = step4(a17, b2, acc17_2); acc17_3 = step4(a17, b3, acc17_3);
            let a18 = load(x18, k);
            acc18_0 = step4(a18, b0, acc18_0); acc18_1 = step4(a18, b1, acc18_1); acc18_2 = step4(a18, b2, acc18_2); acc18_3 = step4(a18, b3, acc18_3);
            let a19 = load(x19, k);
            acc19_0 = step4(a19, b0, acc19_0); acc19_1 = step4(a19, b1, acc19_1); acc19_2 = step4(a19, b2, acc19_2); acc19_3 = step4(a19, b3, acc19_3);
            let a20 = load(x20, k);
            acc20_0 = step4(a20, b0, acc20_0); acc20_1 = step4(a20, b1, acc20_1); acc20_2 = step4(a20, b2, acc20_2); acc20_3 = step4(a20, b3, acc20_3);
            let a21 = load(x21, k);
            acc21_0 = step4(a21, b0, acc21_0); acc21_1 = step4(a21, b1, acc21_1); acc21_2 = step4(a21, b2, acc21_2); acc21_3 = step4(a21, b3, acc21_3);
            let a22 = load(x22, k);
            acc22_0 = step4(a22, b0, acc22_0); acc22_1 = step4(a22, b1, acc22_1); acc22_2 = step4(a22, b2, acc22_2); acc22_3 = step4(a22, b3, acc22_3);
            let a23 = load(x23, k);
            acc23_0 = step4(a23, b0, acc23_0); acc23_1 = step4(a23, b1, acc23_1); acc23_2 = step4(a23, b2, acc23_2); acc23_3 = step4(a23, b3, acc23_3);
            let a24 = load(x24, k);
            acc24_0 = step4(a24, b0, acc24_0); acc24_1 = step4(a24, b1, acc24_1); acc24_2 = step4(a24, b2, acc24_2); acc24_3 = step4(a24, b3, acc24_3);
        }
    }

    let mine = lane * 100u;
    parked[mine + 0u] = acc0_0; parked[mine + 1u] = acc0_1; parked[mine + 2u] = acc0_2; parked[mine + 3u] = acc0_3;
    parked[mine + 4u] = acc1_0; parked[mine + 5u] = acc1_1; parked[mine + 6u] = acc1_2; parked[mine + 7u] = acc1_3;
    parked[mine + 8u] = acc2_0; parked[mine + 9u] = acc2_1; parked[mine + 10u] = acc2_2; parked[mine + 11u] = acc2_3;
    parked[mine + 12u] = acc3_0; parked[mine + 13u] = acc3_1; parked[mine + 14u] = acc3_2; parked[mine + 15u] = acc3_3;
    parked[mine + 16u] = acc4_0; parked[mine + 17u] = acc4_1; parked[mine + 18u] = acc4_2; parked[mine + 19u] = acc4_3;
    parked[mine + 20u] = acc5_0; parked[mine + 21u] = acc5_1; parked[mine + 22u] = acc5_2; parked[mine + 23u] = acc5_3;
    parked[mine + 24u] = acc6_0; parked[mine + 25u] = acc6_1; parked[mine + 26u] = acc6_2; parked[mine + 27u] = acc6_3;
    parked[mine + 28u] = acc7_0; parked[mine + 29u] = acc7_1; parked[mine + 30u] = acc7_2; parked[mine + 31u] = acc7_3;
    parked[mine + 32u] = acc8_0; parked[mine + 33u] = acc8_1; parked[mine + 34u] = acc8_2; parked[mine + 35u] = acc8_3;
    parked[mine + 36u] = acc9_0; parked[mine + 37u] = acc9_1; parked[mine + 38u] = acc9_2; parked[mine + 39u] = acc9_3;
    parked[mine + 40u] = acc10_0; parked[mine + 41u] = acc10_1; parked[mine + 42u] = acc10_2; parked[mine + 43u] = acc10_3;
    parked[mine + 44u] = acc11_0; parked[mine + 45u] = acc11_1; parked[mine + 46u] = acc11_2; parked[mine + 47u] = acc11_3;
    parked[mine + 48u] = acc12_0; parked[mine + 49u] = acc12_1; parked[mine + 50u] = acc12_2; parked[mine + 51u] = acc12_3;
    parked[mine + 52u] = acc13_0; parked[mine + 53u] = acc13_1; parked[mine + 54u] = acc13_2; parked[mine + 55u] = acc13_3;
    parked[mine + 56u] = acc14_0; parked[mine + 57u] = acc14_1; parked[mine + 58u] = acc14_2; parked[mine + 59u] = acc14_3;
    parked[mine + 60u] = acc15_0; parked[mine + 61u] = acc15_1; parked[mine + 62u] = acc15_2; parked[mine + 63u] = acc15_3;
    parked[mine + 64u] = acc16_0; parked[mine + 65u] = acc16_1; parked[mine + 66u] = acc16_2; parked[mine + 67u] = acc16_3;
    parked[mine + 68u] = acc17_0; parked[mine + 69u] = acc17_1; parked[mine + 70u] = acc17_2; parked[mine + 71u] = acc17_3;
    parked[mine + 72u] = acc18_0; parked[mine + 73u] = acc18_1; parked[mine + 74u] = acc18_2; parked[mine + 75u] = acc18_3;
    parked[mine + 76u] = acc19_0; parked[mine + 77u] = acc19_1; parked[mine + 78u] = acc19_2; parked[mine + 79u] = acc19_3;
    parked[mine + 80u] = acc20_0; parked[mine + 81u] = acc20_1; parked[mine + 82u] = acc20_2; parked[mine + 83u] = acc20_3;
    parked[mine + 84u] = acc21_0; parked[mine + 85u] = acc21_1; parked[mine + 86u] = acc21_2; parked[mine + 87u] = acc21_3;
    parked[mine + 88u] = acc22_0; parked[mine + 89u] = acc22_1; parked[mine + 90u] = acc22_2; parked[mine + 91u] = acc22_3;
    parked[mine + 92u] = acc23_0; parked[mine + 93u] = acc23_1; parked[mine + 94u] = acc23_2; parked[mine + 95u] = acc23_3;
    parked[mine + 96u] = acc24_0; parked[mine + 97u] = acc24_1; parked[mine + 98u] = acc24_2; parked[mine + 99u] = acc24_3;
    for (var r = row; r < min(row + 25u, params.rows); r += 1u) {
        for (var c = column; c < min(column + 4u, params.n4); c += 1u) {
            finish(r, c, parked[mine + (r - row) * 4u + c - column]);
        }
    }
}
