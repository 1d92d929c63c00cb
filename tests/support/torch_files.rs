//! PyTorch files made by hand: pickles opcode by opcode, archives field by field. No Python, no library.

#![allow(dead_code, clippy::unwrap_used)]

/// Opcodes that leave one value on the stack.
pub type Expr = Vec<u8>;

pub fn none() -> Expr {
    b"N".to_vec()
}

pub fn truth(value: bool) -> Expr {
    vec![if value { 0x88 } else { 0x89 }]
}

/// As few bytes as Python takes.
pub fn int(number: i64) -> Expr {
    match number {
        0..=255 => vec![b'K', number as u8],
        256..=65535 => [&b"M"[..], &(number as u16).to_le_bytes()].concat(),
        _ if i32::try_from(number).is_ok() => [&b"J"[..], &(number as i32).to_le_bytes()].concat(),
        _ => [&[0x8a, 8][..], &number.to_le_bytes()].concat(),
    }
}

pub fn text(text: &str) -> Expr {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

pub fn tuple(elements: &[Expr]) -> Expr {
    [b"(", &*elements.concat(), b"t"].concat()
}

pub fn list(elements: &[Expr]) -> Expr {
    [b"](", &*elements.concat(), b"e"].concat()
}

pub fn dict(items: &[(&str, Expr)]) -> Expr {
    [b"}", &*set_items(items)].concat()
}

/// Sets keys of the dictionary below.
pub fn set_items(items: &[(&str, Expr)]) -> Vec<u8> {
    let items: Vec<_> = items.iter().map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"(", &*items.concat(), b"u"].concat()
}

pub fn global(path: &str) -> Expr {
    let (module, name) = path.rsplit_once('.').unwrap();
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn stack_global(module: &str, name: &str) -> Expr {
    [text(module), text(name), vec![0x93]].concat()
}

pub fn reduce(callable: Expr, args: &[Expr]) -> Expr {
    [callable, tuple(args), b"R".to_vec()].concat()
}

pub fn new_object(class: &str, state: Expr) -> Expr {
    [&*global(class), b")\x81", &*state, b"b"].concat()
}

pub fn ordered_dict(items: &[(&str, Expr)]) -> Expr {
    [reduce(global("collections.OrderedDict"), &[]), set_items(items)].concat()
}

pub fn sizes(sizes: &[i64]) -> Expr {
    tuple(&sizes.iter().map(|&size| int(size)).collect::<Vec<_>>())
}

pub fn storage(class: &str, key: &str, numbers: i64) -> Expr {
    let name = [text("storage"), global(class), text(key), text("cpu"), int(numbers)];
    [tuple(&name), b"Q".to_vec()].concat()
}

/// A tensor of a storage: offset, sizes, strides.
pub fn tensor(storage: Expr, offset: i64, shape: &[i64], strides: &[i64]) -> Expr {
    let hooks = ordered_dict(&[]);
    let args = [storage, int(offset), sizes(shape), sizes(strides), truth(false), hooks];
    reduce(global("torch._utils._rebuild_tensor_v2"), &args)
}

/// A tensor of f32 that fills a storage of its own.
pub fn floats(key: &str, numbers: i64) -> Expr {
    tensor(storage("torch.FloatStorage", key, numbers), 0, &[numbers], &[1])
}

/// A module of `torch.nn`.
pub fn module(class: &str, parameters: &[(&str, Expr)], buffers: &[(&str, Expr)], modules: &[(&str, Expr)]) -> Expr {
    let state = dict(&[
        ("training", truth(false)),
        ("_parameters", dict(parameters)),
        ("_buffers", dict(buffers)),
        ("_non_persistent_buffers_set", reduce(global("builtins.set"), &[list(&[text("scratch")])])),
        ("_modules", dict(modules)),
    ]);
    new_object(class, state)
}

/// A pickle of protocol 2.
pub fn pickle(value: Expr) -> Vec<u8> {
    [b"\x80\x02", &*value, b"."].concat()
}

/// `count` numbers as the storage of them would hold them.
pub fn numbers(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| (number as f32).to_le_bytes()).collect()
}

/// An entry of a zip archive, with what can be wrong about it.
#[derive(Clone)]
pub struct Entry {
    pub name: Vec<u8>,
    /// Another name before the content.
    pub local_name: Option<Vec<u8>>,
    pub content: Vec<u8>,
    pub crc32: Option<u32>,
    pub method: u16,
    pub flags: u16,
    /// Size in the directory.
    pub size: Option<u32>,
    /// Where the directory says the entry begins.
    pub at: Option<u32>,
}

pub fn entry(name: &str, content: &[u8]) -> Entry {
    Entry {
        name: name.as_bytes().to_vec(),
        local_name: None,
        content: content.to_vec(),
        crc32: None,
        method: 0,
        flags: 0,
        size: None,
        at: None,
    }
}

/// The directory of an archive, how many entries its end announces, and whether the longer end is written.
pub struct Zip {
    pub entries: Vec<Entry>,
    pub announced: Option<u64>,
    pub longer: bool,
}

impl Zip {
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries, announced: None, longer: false }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let at = entry.at.unwrap_or(file.len() as u32);
            let mut crc = flate2::Crc::new();
            crc.update(&entry.content);
            let crc32 = entry.crc32.unwrap_or(crc.sum());
            let size = entry.size.unwrap_or(entry.content.len() as u32);
            let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
            let fields = |name: &[u8]| {
                let mut fields = Vec::new();
                for field in [0, entry.flags, entry.method, 0, 0] {
                    fields.extend(field.to_le_bytes());
                }
                for field in [crc32, size, size] {
                    fields.extend(field.to_le_bytes());
                }
                fields.extend((name.len() as u16).to_le_bytes());
                fields.extend(0u16.to_le_bytes());
                fields
            };
            file.extend(b"PK\x03\x04");
            file.extend(fields(local_name));
            file.extend(local_name);
            file.extend(&entry.content);
            directory.extend(b"PK\x01\x02\0\0");
            directory.extend(fields(&entry.name));
            directory.extend([0; 10]);
            directory.extend(at.to_le_bytes());
            directory.extend(&entry.name);
        }
        let start = file.len() as u64;
        let count = self.announced.unwrap_or(self.entries.len() as u64);
        file.extend(&directory);
        if self.longer {
            let end = file.len() as u64;
            file.extend(b"PK\x06\x06");
            file.extend(44u64.to_le_bytes());
            file.extend([0; 12]);
            for field in [count, count, directory.len() as u64, start] {
                file.extend(field.to_le_bytes());
            }
            file.extend(b"PK\x06\x07\0\0\0\0");
            file.extend(end.to_le_bytes());
            file.extend(1u32.to_le_bytes());
        }
        file.extend(b"PK\x05\x06\0\0\0\0");
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
        file.extend((directory.len() as u32).to_le_bytes());
        file.extend((start as u32).to_le_bytes());
        file.extend([0, 0]);
        file
    }
}

/// An archive as `torch.save` writes it.
pub fn archive(pickle: &[u8], storages: &[(&str, Vec<u8>)]) -> Vec<u8> {
    Zip::new(entries(pickle, storages)).bytes()
}

pub fn entries(pickle: &[u8], storages: &[(&str, Vec<u8>)]) -> Vec<Entry> {
    let mut entries = vec![entry("model/data.pkl", pickle), entry("model/byteorder", b"little")];
    entries.extend(storages.iter().map(|(key, content)| entry(&format!("model/data/{key}"), content)));
    entries.push(entry("model/version", b"3\n"));
    entries
}

/// The four pickles before the model in the format before archives.
pub fn before_zip_start() -> Vec<u8> {
    let magic = [&[0x8a, 10][..], &0x1950_a86a_20f9_469c_fc6c_u128.to_le_bytes()[..10]].concat();
    let system = dict(&[("protocol_version", int(1001)), ("little_endian", truth(true))]);
    [pickle(magic), pickle(int(1001)), pickle(system)].concat()
}

/// The format before archives: keys, numbers in them, bytes.
pub fn before_zip(model: &[u8], storages: &[(&str, u64, Vec<u8>)]) -> Vec<u8> {
    let keys: Vec<_> = storages.iter().map(|(key, ..)| text(key)).collect();
    let mut file = [&*before_zip_start(), model, &pickle(list(&keys))].concat();
    for (_, count, content) in storages {
        file.extend(count.to_le_bytes());
        file.extend(content);
    }
    file
}
