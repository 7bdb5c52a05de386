//! Schemas from files: `.proto` compiled here, descriptor sets as `protoc --descriptor_set_out` and `buf build` write them, and texts.
//!
//! Imports are looked up in the file's folder and in every folder above it, down from where the process runs; those of
//! `google/protobuf` are known.
//! Limits: a file of 16 MiB.

use prost_reflect::{DescriptorError, DescriptorPool};
use std::path::{Path, PathBuf};

const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file of schemas does not read: the fault of whoever wrote or named it.
#[derive(Debug, thiserror::Error)]
pub enum SchemaFileError {
    #[error("{path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} has {bytes} bytes, more than {FILE_BYTES_MAX}", path = path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{path} does not compile: {detail}", path = path.display())]
    Proto { path: PathBuf, detail: String },
    #[error("{path} is no set of protobuf descriptors: {source}", path = path.display())]
    Descriptors { path: PathBuf, source: DescriptorError },
}

/// The messages of a `.proto` file and what it imports, or of a set of descriptors (any other name).
pub fn messages_of_file(path: &Path) -> Result<DescriptorPool, SchemaFileError> {
    let bytes = read(path)?;
    if path.extension().is_some_and(|extension| extension == "proto") {
        return compile(path);
    }
    DescriptorPool::decode(bytes.as_slice())
        .map_err(|source| SchemaFileError::Descriptors { path: path.to_owned(), source })
}

/// A file's text.
pub fn text_of_file(path: &Path) -> Result<String, SchemaFileError> {
    String::from_utf8(read(path)?).map_err(|error| SchemaFileError::Read {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, SchemaFileError> {
    let wrong = |source| SchemaFileError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(wrong)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(SchemaFileError::TooLarge { path: path.to_owned(), bytes });
    }
    std::fs::read(path).map_err(wrong)
}

fn compile(path: &Path) -> Result<DescriptorPool, SchemaFileError> {
    let wrong = |detail: String| SchemaFileError::Proto { path: path.to_owned(), detail };
    let folders = path.parent().into_iter().flat_map(Path::ancestors);
    let here = |folder: &Path| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() };
    let folders: Vec<PathBuf> = folders.map(here).collect();
    let set = protox::compile([path], folders).map_err(|error| wrong(told(&error)))?;
    DescriptorPool::from_file_descriptor_set(set).map_err(|error| wrong(error.to_string()))
}

/// With the line, where protox knows it.
fn told(error: &protox::Error) -> String {
    let text = format!("{error:?}");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTO: &str = "../../docs/examples/door.proto";

    #[test]
    fn a_set_of_descriptors_says_what_its_proto_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let compiled = messages_of_file(Path::new(PROTO)).expect("it compiles");
        // As `protoc --include_imports --descriptor_set_out` writes it.
        let path = folder.path().join("door.desc");
        std::fs::write(&path, compiled.encode_to_vec()).expect("written");
        let read = messages_of_file(&path).expect("it is a set");
        let fields = |pool: &DescriptorPool| {
            let door = pool.get_message_by_name("acme.Door").expect("it is there");
            door.fields().map(|field| format!("{field:?}")).collect::<Vec<_>>()
        };
        assert_eq!(fields(&read), fields(&compiled));
        assert!(fields(&read).len() > 3);
        // Without what it imports it cannot be read.
        let mut set = prost_types_of(&compiled);
        set.file.retain(|file| file.package() == "acme" && file.name().ends_with("door.proto"));
        std::fs::write(&path, prost::Message::encode_to_vec(&set)).expect("written");
        let error = messages_of_file(&path).expect_err("refused").to_string();
        assert!(error.contains("door.desc is no set of protobuf descriptors"), "{error}");
    }

    fn prost_types_of(pool: &DescriptorPool) -> prost_reflect::prost_types::FileDescriptorSet {
        prost_reflect::prost_types::FileDescriptorSet { file: pool.file_descriptor_protos().cloned().collect() }
    }
}
