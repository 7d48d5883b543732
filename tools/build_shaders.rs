//! Build script: joins, validates and reflects every kernel in `shaders/`.
//!
//! WGSL is the single source of truth. For each `shaders/NAME.wgsl` this writes the joined source of every variant and
//! a Rust module `NAME` with `Params` (the uniform struct, laid out as WGSL lays it out) and `KERNEL` (bindings,
//! overrides, sources). An invalid shader fails the build with its file, line and naga's message, and so does one that
//! leaves the portable set: more than 16 KiB of workgroup memory, 256 threads or 8 storage buffers.
//!
//! A line `// include: common/act_{f32,f16}.wgsl` in a kernel's header appends that fragment; braces make one variant
//! per alternative, and `common/act8_{act}.wgsl` is the fragment of the alternative that `act_` stands at. Fragments go behind the
//! kernel, so that line numbers of the kernel stay its own.
//!
//! `// family: matmul` says that the kernel is one of several behind the op of that name (default: the kernel's own), and
//! `// needs: subgroup` (`subgroup_int64`, `cooperative_16`, `cooperative_8`) that it runs only where a device offers more than WebGPU
//! guarantees; the limits above hold all the same. What such a kernel must `enable` is put before its first line here.

use naga::front::wgsl;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, ImageClass, Module, ScalarKind, StorageAccess, TypeInner};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

const MAX_WORKGROUP_BYTES: u32 = 16 * 1024;
const MAX_THREADS: u32 = 256;
const MAX_STORAGE_BUFFERS: usize = 8;

fn main() {
    println!("cargo:rerun-if-changed=shaders");
    println!("cargo:rerun-if-changed=tools/build_shaders.rs");
    if let Err(message) = run() {
        eprintln!("error: {message}");
        process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| e.to_string())?);
    let mut names = Vec::new();
    let mut code = String::new();
    for path in wgsl_files(Path::new("shaders"))? {
        let name = path.file_stem().and_then(|s| s.to_str()).ok_or("shader name is not UTF-8")?.to_owned();
        code += &kernel(&name, &path, &out)?;
        names.push(name);
    }
    writeln!(code, "/// Every kernel, in name order.").ok();
    writeln!(code, "pub static ALL: &[&Kernel] = &[{}];", names.iter().map(|n| format!("&{n}::KERNEL")).collect::<Vec<_>>().join(", "))
        .ok();
    fs::write(out.join("kernels.rs"), code).map_err(|e| e.to_string())
}

fn wgsl_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == "wgsl")).collect();
    files.sort();
    Ok(files)
}

/// One variant: what it is called and the fragments it is joined with.
#[derive(Clone, Default)]
struct Variant {
    elements: Vec<String>,
    fragments: Vec<PathBuf>,
}

impl Variant {
    /// `a_{act}.wgsl` as `a_f16.wgsl` where the element `act_f16` was chosen on a line before; other names as they are.
    fn chosen(&self, file: &str) -> String {
        let key = |e: &'_ String| e.rsplit_once('_').map(|(kind, storage)| (format!("{{{kind}}}"), storage.to_owned()));
        self.elements.iter().filter_map(key).fold(file.to_owned(), |file, (kind, storage)| file.replace(&kind, &storage))
    }
}

/// What a kernel may ask for beyond the portable set.
#[derive(Clone, Copy)]
struct Need {
    name: &'static str,
    /// Of `gpu::kernel::Need`.
    rust: &'static str,
    capabilities: Capabilities,
    /// naga knows no `enable subgroups;`: there the device's feature is the switch.
    directives: &'static str,
}

const NEEDS: [Need; 4] = [
    Need { name: "subgroup", rust: "Subgroup", capabilities: Capabilities::SUBGROUP, directives: "" },
    Need {
        name: "subgroup_int64",
        rust: "SubgroupInt64",
        capabilities: Capabilities::SUBGROUP.union(Capabilities::SHADER_INT64),
        directives: "",
    },
    Need {
        name: "cooperative_16",
        rust: "Cooperative16",
        capabilities: Capabilities::SUBGROUP.union(Capabilities::COOPERATIVE_MATRIX).union(Capabilities::SHADER_FLOAT16),
        directives: "enable f16; enable wgpu_cooperative_matrix; ",
    },
    Need {
        name: "cooperative_8",
        rust: "Cooperative8",
        capabilities: Capabilities::SUBGROUP.union(Capabilities::COOPERATIVE_MATRIX),
        directives: "enable wgpu_cooperative_matrix; ",
    },
];

impl Need {
    fn named(name: &str) -> Result<Need, String> {
        let known = || NEEDS.map(|n| n.name).join(", ");
        NEEDS.into_iter().find(|n| n.name == name).ok_or_else(|| format!("unknown need \"{name}\", expected one of {}", known()))
    }
}

fn kernel(name: &str, path: &Path, out: &Path) -> Result<String, String> {
    let source = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut code = String::new();
    let mut variants_code = String::new();
    let mut reflected: Option<Reflection> = None;
    let header = |key: &str| source.lines().find_map(|l| Some(l.strip_prefix("// ")?.strip_prefix(key)?.trim().to_owned()));
    let family = header("family:").unwrap_or_else(|| name.to_owned());
    let need = header("needs:").map(|text| Need::named(&text).map_err(|e| format!("{}: {e}", path.display()))).transpose()?;
    for variant in variants(&source) {
        // On the first line, so that every line keeps its number.
        let mut joined = need.map_or("", |n| n.directives).to_owned() + &source;
        for fragment in &variant.fragments {
            let text =
                fs::read_to_string(fragment).map_err(|e| format!("{}: included from {}: {e}", fragment.display(), path.display()))?;
            joined.push('\n');
            joined += &text;
        }
        let file = format!("{}.wgsl", std::iter::once(name.to_owned()).chain(variant.elements.clone()).collect::<Vec<_>>().join("."));
        let module = validate(&joined, path, &variant.fragments, need.map_or(Capabilities::empty(), |n| n.capabilities))?;
        let this = reflect(&module).map_err(|e| format!("{}: {e}", path.display()))?;
        fs::write(out.join(&file), &joined).map_err(|e| e.to_string())?;
        let dtype = |prefix: &str| match variant.elements.iter().find_map(|e| e.strip_prefix(prefix)) {
            Some("f16") => "Some(DType::F16)",
            Some("i8") => "Some(DType::I8)",
            Some(_) => "Some(DType::F32)",
            None => "None",
        };
        writeln!(
            variants_code,
            "        Variant {{ act: {}, weight: {}, source: include_str!(concat!(env!(\"OUT_DIR\"), \"/{file}\")) }},",
            dtype("act_"),
            dtype("weight_")
        )
        .ok();
        if reflected.as_ref().is_some_and(|first| first.bindings != this.bindings || first.params != this.params) {
            return Err(format!("{}: variants differ in bindings or parameters", path.display()));
        }
        reflected = Some(this);
    }
    let reflected = reflected.ok_or("no variants")?;
    let about = source.lines().next().and_then(|l| l.strip_prefix("// ")).unwrap_or("A kernel without a description.");
    writeln!(code, "/// {}", about.replace('[', "\\[").replace(']', "\\]").replace('<', "\\<")).ok();
    writeln!(code, "pub mod {name} {{\n    use super::*;\n").ok();
    code += &reflected.params;
    writeln!(code, "    /// The kernel `shaders/{name}.wgsl`.").ok();
    writeln!(code, "    pub static KERNEL: Kernel = Kernel {{").ok();
    let need = need.map_or("None".to_owned(), |n| format!("Some(Need::{})", n.rust));
    writeln!(code, "        name: \"{name}\",\n        family: \"{family}\",\n        need: {need},").ok();
    writeln!(code, "        bindings: &[{}],", reflected.bindings.join(", ")).ok();
    writeln!(code, "        overrides: &{:?},\n        variants: &[\n{variants_code}        ],\n    }};\n}}\n", reflected.overrides).ok();
    Ok(code)
}

/// Expands the include lines into variants (the product of all braces).
fn variants(source: &str) -> Vec<Variant> {
    let mut all = vec![Variant::default()];
    for line in source.lines().filter_map(|l| l.strip_prefix("// include:")) {
        let line = line.trim();
        let choices: Vec<(Option<String>, String)> = match (line.find('{'), line.find('}')) {
            (Some(open), Some(close)) if open < close && line[open..close].contains(',') => line[open + 1..close]
                .split(',')
                .map(|choice| {
                    let file = format!("{}{choice}{}", &line[..open], &line[close + 1..]);
                    (Path::new(&file).file_stem().map(|s| s.to_string_lossy().into_owned()), file)
                })
                .collect(),
            _ => vec![(None, line.to_owned())],
        };
        all = all
            .iter()
            .flat_map(|variant| {
                choices.iter().map(move |(element, file)| {
                    let mut v = variant.clone();
                    v.elements.extend(element.clone());
                    v.fragments.push(Path::new("shaders").join(v.chosen(file)));
                    v
                })
            })
            .collect();
    }
    all
}

fn validate(joined: &str, path: &Path, fragments: &[PathBuf], needed: Capabilities) -> Result<Module, String> {
    // A line of the joined text, as file and line of what a person edits.
    let place = |line: usize| -> String {
        let mut start = 0;
        for file in std::iter::once(path).chain(fragments.iter().map(PathBuf::as_path)) {
            let lines = fs::read_to_string(file).map(|t| t.lines().count() + 1).unwrap_or(0);
            if line <= start + lines {
                return format!("{}:{}", file.display(), line - start);
            }
            start += lines;
        }
        path.display().to_string()
    };
    let module = wgsl::parse_str(joined).map_err(|e| {
        let line = e.location(joined).map_or(0, |l| l.line_number as usize);
        format!("{}: invalid WGSL\n{}", place(line), e.emit_to_string_with_path(joined, &path.display().to_string()))
    })?;
    Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32 | needed).validate(&module).map_err(|e| {
        let line = e.location(joined).map_or(0, |l| l.line_number as usize);
        format!("{}: invalid WGSL\n{}", place(line), e.emit_to_string_with_path(joined, &path.display().to_string()))
    })?;
    Ok(module)
}

struct Reflection {
    bindings: Vec<String>,
    overrides: Vec<String>,
    params: String,
}

fn reflect(module: &Module) -> Result<Reflection, String> {
    let [entry] = module.entry_points.as_slice() else { return Err("expected exactly one entry point".into()) };
    if entry.name != "main" {
        return Err(format!("entry point is \"{}\", expected \"main\"", entry.name));
    }
    let threads: u32 = entry.workgroup_size.iter().product();
    if threads > MAX_THREADS {
        return Err(format!("workgroup of {threads} threads, portable limit {MAX_THREADS}"));
    }
    let mut bindings: Vec<(u32, String)> = Vec::new();
    let mut workgroup_bytes = 0;
    let mut storage = 0;
    let mut params = None;
    for (_, variable) in module.global_variables.iter() {
        let ty = &module.types[variable.ty];
        if variable.space == AddressSpace::WorkGroup {
            workgroup_bytes += ty.inner.size(module.to_ctx());
        }
        let Some(binding) = &variable.binding else { continue };
        let kind = match (variable.space, &ty.inner) {
            (AddressSpace::Uniform, TypeInner::Struct { .. }) => {
                params = Some(params_struct(module, &ty.inner)?);
                "Binding::Params"
            }
            (AddressSpace::Storage { access }, _) => {
                storage += 1;
                if access.contains(StorageAccess::STORE) { "Binding::Write" } else { "Binding::Read" }
            }
            (AddressSpace::Handle, TypeInner::Image { class: ImageClass::Sampled { .. }, .. }) => "Binding::Texture",
            (AddressSpace::Handle, TypeInner::Image { class: ImageClass::Storage { .. }, .. }) => "Binding::StorageTexture",
            _ => return Err(format!("binding {:?} is of a kind that the engine does not bind", variable.name)),
        };
        bindings.push((binding.binding, kind.to_owned()));
    }
    bindings.sort();
    if bindings.iter().enumerate().any(|(i, (n, _))| i as u32 != *n) {
        return Err("bindings must be numbered 0, 1, 2 ... without gaps".into());
    }
    if workgroup_bytes > MAX_WORKGROUP_BYTES {
        return Err(format!("{workgroup_bytes} bytes of workgroup memory, portable limit {MAX_WORKGROUP_BYTES}"));
    }
    if storage > MAX_STORAGE_BUFFERS {
        return Err(format!("{storage} storage buffers, portable limit {MAX_STORAGE_BUFFERS}"));
    }
    let overrides = module.overrides.iter().filter_map(|(_, o)| o.name.clone()).collect();
    Ok(Reflection { bindings: bindings.into_iter().map(|(_, kind)| kind).collect(), overrides, params: params.ok_or("no uniform Params")? })
}

/// The WGSL struct as a `#[repr(C)]` Rust struct with the padding spelled out.
fn params_struct(module: &Module, inner: &TypeInner) -> Result<String, String> {
    let TypeInner::Struct { members, span } = inner else { return Err("Params is not a struct".into()) };
    let mut code = String::from(
        "    /// Uniform parameters, laid out as in WGSL.\n    #[repr(C)]\n    #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]\n    #[allow(missing_docs)]\n    pub struct Params {\n",
    );
    let mut end = 0;
    let pad = |code: &mut String, to: u32, end: u32| {
        if to > end {
            writeln!(code, "        #[doc(hidden)] pub _pad{end}: [u32; {}],", (to - end) / 4).ok();
        }
    };
    for member in members {
        let name = member.name.as_deref().ok_or("unnamed parameter")?;
        let scalar = |kind: ScalarKind| match kind {
            ScalarKind::Float => Ok("f32"),
            ScalarKind::Uint => Ok("u32"),
            ScalarKind::Sint => Ok("i32"),
            _ => Err(format!("parameter {name}: only f32, u32 and i32")),
        };
        let (ty, size) = match &module.types[member.ty].inner {
            TypeInner::Scalar(s) => (scalar(s.kind)?.to_owned(), 4),
            TypeInner::Vector { size, scalar: s } => (format!("[{}; {}]", scalar(s.kind)?, *size as u32), 4 * *size as u32),
            _ => return Err(format!("parameter {name}: only scalars and vectors")),
        };
        pad(&mut code, member.offset, end);
        writeln!(code, "        pub {name}: {ty},").ok();
        end = member.offset + size;
    }
    // Uniform structs are bound in units of 16 bytes.
    pad(&mut code, span.next_multiple_of(16), end);
    code += "    }\n\n";
    Ok(code)
}
