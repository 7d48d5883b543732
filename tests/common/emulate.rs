//! Cooperative matrices as plain loops, so that kernels made of them compute on any adapter.
//!
//! A subgroup holds a sum together, each thread some elements of it. Operands stay where they are: they are read from the workgroup's
//! memory when they are multiplied, so nothing may be written there in between. What is assumed of real matrices: `coopLoadT` and
//! `coopStoreT` go row by row, `coopLoad` column by column, and products and sums are f32.

use regex::{Captures, Regex};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What a device must list to be given such kernels.
pub fn matrices() -> Vec<lancet::wgpu::CooperativeMatrixProperties> {
    use lancet::wgpu::CooperativeScalarType::{F16, F32};
    let matrix = |side, ab_type, cr_type| lancet::wgpu::CooperativeMatrixProperties {
        m_size: side,
        n_size: side,
        k_size: side,
        ab_type,
        cr_type,
        saturating_accumulation: false,
    };
    vec![matrix(16, F16, F32), matrix(8, F32, F32)]
}

/// A kernel with its matrices replaced, in subgroups of `LANES` neighbouring threads. Others stay as they are.
pub fn rewrite<const LANES: u32>(source: &str) -> String {
    let Some(side) = [16u32, 8].into_iter().find(|side| source.contains(&format!("coop_mat{side}x{side}"))) else {
        return source.to_owned();
    };
    let pattern = |text: &str| Regex::new(text).expect("a pattern");
    let text = source.replace("enable wgpu_cooperative_matrix;", "");
    let text = pattern(r"coop_mat\d+x\d+<\w+, C>\(\)").replace_all(&text, "CoopSum()");
    // Operands: where the first element lies, how far the next row, the next column.
    let mut home = BTreeMap::new();
    let load = r"let (?P<name>\w+) = coopLoad(?P<rows>T?)<coop_mat[^(]*\(&(?P<array>\w+)\[(?P<at>[^\]]*)\], (?P<stride>\w+)\)";
    let text = pattern(load).replace_all(&text, |c: &Captures<'_>| {
        let before = home.insert(c["name"].to_owned(), c["array"].to_owned());
        assert!(before.is_none_or(|array| array == c["array"]), "{} is loaded from two arrays", &c["name"]);
        let steps = if c["rows"].is_empty() { format!("1u, {}", &c["stride"]) } else { format!("{}, 1u", &c["stride"]) };
        format!("let {} = vec3<u32>({}, {steps})", &c["name"], &c["at"])
    });
    let mut pairs = BTreeSet::new();
    let text = pattern(r"coopMultiplyAdd\((?P<a>\w+), (?P<b>\w+), (?P<sum>\w+)\)").replace_all(&text, |c: &Captures<'_>| {
        let [a, b] = ["a", "b"].map(|operand| home.get(&c[operand]).unwrap_or_else(|| panic!("{} is not loaded", &c[operand])).clone());
        pairs.insert([a.clone(), b.clone()]);
        format!("coop_multiply_add_{a}_{b}({}, {}, {}, thread % {LANES}u)", &c["a"], &c["b"], &c["sum"])
    });
    let mut stored = BTreeSet::new();
    let store = r"coopStoreT\((?P<sum>\w+), &(?P<array>\w+)\[(?P<at>[^\]]*)\], (?P<stride>\w+)\)";
    let text = pattern(store).replace_all(&text, |c: &Captures<'_>| {
        stored.insert(c["array"].to_owned());
        format!("coop_store_{}({}, {}, {}, thread % {LANES}u)", &c["array"], &c["sum"], &c["at"], &c["stride"])
    });
    let text = pattern(r",\s*@builtin\(subgroup_id\) \w+: u32, @builtin\(subgroup_size\) \w+: u32\) \{")
        .replace(&text, format!(") {{ let lanes = {LANES}u; let subgroup = thread / {LANES}u; "));
    assert!(
        !["coop_mat", "coopLoad", "coopStore", "coopMultiply", "subgroup_"].iter().any(|part| text.contains(part)),
        "a use of matrices or subgroups that emulation does not know:\n{text}"
    );
    text.into_owned() + &functions(side, LANES, &pairs, &stored)
}

/// Element `first + e` of a sum is the thread's `e`-th; threads beyond the last element have none.
fn functions(side: u32, lanes: u32, pairs: &BTreeSet<[String; 2]>, stored: &BTreeSet<String>) -> String {
    let all = side * side;
    let own = (all / lanes).max(1);
    let each = |form: &dyn Fn(u32) -> String| (0..own).map(form).collect::<String>();
    let mut out = format!("\nstruct CoopSum {{ {} }}\n", each(&|e| format!("e{e}: f32, ")));
    for [a, b] in pairs {
        let name = format!("{a}_{b}");
        write!(
            out,
            "
fn coop_dot_{name}(a: vec3<u32>, b: vec3<u32>, element: u32) -> f32 {{
    var s = 0.0;
    for (var k = 0u; k < {side}u; k += 1u) {{
        s += f32({a}[a.x + element / {side}u * a.y + k * a.z]) * f32({b}[b.x + k * b.y + element % {side}u * b.z]);
    }}
    return s;
}}

fn coop_multiply_add_{name}(a: vec3<u32>, b: vec3<u32>, sum: CoopSum, lane: u32) -> CoopSum {{
    var s = sum;
    let first = min(lane * {own}u, {all}u - {own}u);
    {}
    return s;
}}
",
            each(&|e| format!("s.e{e} += coop_dot_{name}(a, b, first + {e}u); "))
        )
        .expect("a string");
    }
    for array in stored {
        let stores = each(&|e| format!("{array}[at + (first + {e}u) / {side}u * stride + (first + {e}u) % {side}u] = sum.e{e}; "));
        write!(
            out,
            "
fn coop_store_{array}(sum: CoopSum, at: u32, stride: u32, lane: u32) {{
    let first = lane * {own}u;
    if (first < {all}u) {{ {stores} }}
}}
"
        )
        .expect("a string");
    }
    out
}
