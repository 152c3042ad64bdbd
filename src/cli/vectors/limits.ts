// Bounds of vector files, with their reasons. What the server bounds too is looked at here first, because here the row has a number.

/** Numbers of a vector, as the server takes them. */
export const MAX_DIMENSION = 4096;
/** An id, as the server takes it. Bytes of UTF-8. */
export const MAX_ID_BYTES = 512;
/** Metadata, as the server takes it. Bytes of JSON. */
export const MAX_METADATA_BYTES = 64 * 1024;
/** A text, as the server takes it. Bytes of UTF-8. */
export const MAX_TEXT_BYTES = 64 * 1024;
/** A record of a CSV file: 4096 numbers of 30 characters and metadata in which each quote is two. Characters. */
export const MAX_RECORD_CHARACTERS = 1024 * 1024;
/** Columns of a CSV file: a vector's numbers one by one, and as many for metadata. */
export const MAX_COLUMNS = 8192;
/** The header of a .npy file; NumPy's own bound. Bytes. */
export const MAX_NPY_HEADER_BYTES = 10_000;
/** What describes a Parquet file at its end: a few hundred bytes for a column of a row group. Bytes. */
export const MAX_PARQUET_FOOTER_BYTES = 64 * 1024 * 1024;
/** A row group of a Parquet file, unpacked: it is read as a whole. Bytes. */
export const MAX_ROW_GROUP_BYTES = 512 * 1024 * 1024;
/** A page of a Parquet file, unpacked: usually 1 MiB. Bytes. */
export const MAX_PAGE_BYTES = 128 * 1024 * 1024;
/** Rows of a row group that is written: 16 MiB of values at 4096 dimensions. */
export const WRITTEN_ROW_GROUP_ROWS = 1000;
