/* fd.h - files as the C library has them; which one a name is, says who fuzzes. */
#define PG_BINARY_R "r"
#define PG_BINARY_W "w"
#define PGSTAT_STAT_PERMANENT_DIRECTORY "pg_stat"
#define AllocateFile(name, mode) fopen(fuzz_path(name), mode)
#define FreeFile(file) fclose(file)

extern const char *fuzz_path(const char *name);
