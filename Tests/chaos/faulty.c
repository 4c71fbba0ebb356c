// A disk that fails on demand and remembers what was not synced: an LD_PRELOAD layer between a program and the files below one directory.
//
//     cc -shared -fPIC -O2 Tests/chaos/faulty.c -o faulty.so -ldl
//     python3 Tests/chaos/faulty.py clear CONTROL           # makes the control file
//     FAULTY_ROOT=/tmp/spool FAULTY_CONTROL=CONTROL FAULTY_JOURNAL=JOURNAL LD_PRELOAD=$PWD/faulty.so spool-writer run ...
//     python3 Tests/chaos/faulty.py set CONTROL op=pwrite errno=ENOSPC match=.lz4   # from now on, in the running program
//     python3 Tests/chaos/faulty.py set CONTROL op=fdatasync errno=EIO mode=lose count=1
//     python3 Tests/chaos/faulty.py set CONTROL op=statvfs mode=ratio value=950             # 95.0 % used
//     python3 Tests/chaos/faulty.py set CONTROL op=rename mode=kill_before skip=1 count=1
//     python3 Tests/chaos/faulty.py clear CONTROL
//     kill -9 PID; python3 Tests/chaos/faulty.py power-loss JOURNAL --root /tmp/spool --seed 7
//
// FAULTY_ROOT: one directory or several, with : between them; absolute, without links. FAULTY_CONTROL: a file of RULES rules (below), mapped,
// so that another process changes them at any time. FAULTY_JOURNAL: a file to append to. FAULTY_KEPT: a directory on the root's file
// system that keeps what was unlinked (default JOURNAL.d). Each but the first may be missing. A rule belongs to calls (a mask), and to paths that contain its `match`; the
// first rule that fits decides. Delays end when their rule is cleared, so that `hang` is a long delay.
//
// The journal has a record for each change, with what was there before; faulty.py makes a power loss of it. Files are known by inode, since
// they are renamed while they are open. What a process maps, and bytes written by write(2), are not seen: the spool is written by pwrite.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// The control file. faulty.py has the same numbers.

enum { RULES = 16, MATCH_BYTES = 80 };
enum op {
    OP_OPEN = 1 << 0,   // of what is there
    OP_CREATE = 1 << 1, // open with O_CREAT of what is not there
    OP_PWRITE = 1 << 2,
    OP_PREAD = 1 << 3,
    OP_FDATASYNC = 1 << 4, // and fsync of a file
    OP_SYNCDIR = 1 << 5,   // fsync of a directory
    OP_FTRUNCATE = 1 << 6,
    OP_RENAME = 1 << 7,
    OP_UNLINK = 1 << 8,
    OP_MKDIR = 1 << 9,
    OP_FALLOCATE = 1 << 10,
    OP_STATVFS = 1 << 11,
    OP_OPENDIR = 1 << 12,
    OP_FLOCK = 1 << 13,
};
enum mode {
    MODE_FAIL,        // the call fails with `error` and does nothing; with error 0 it is only delayed
    MODE_SHORT,       // pwrite: half of it is written, and that is the answer
    MODE_BUDGET,      // pwrite, fallocate: `value` more bytes fit, then it fails with `error`
    MODE_LOSE,        // fdatasync: fails, and what was unsynced is gone at once, from the page cache too
    MODE_DOOM,        // fdatasync: fails, what was unsynced can be read until a power loss, and no later sync saves it
    MODE_RATIO,       // statvfs: `value` thousandths are used
    MODE_KILL_BEFORE, // SIGKILL instead of the call
    MODE_KILL_DURING, // pwrite: half of it, then SIGKILL
    MODE_KILL_AFTER,
    MODE_LIE, // syncs: the answer is that it is done, and nothing is durable
};
typedef struct rule {
    uint32_t ops;
    int32_t error;
    uint32_t mode;
    uint32_t delay_ms;
    int64_t skip;  // calls that pass first
    int64_t count; // calls that are hit; -1 all of them, 0 the rule is off. Written last
    int64_t value;
    uint64_t hits;
    char match[MATCH_BYTES];
} rule;
_Static_assert(sizeof(rule) == 128, "faulty.py knows the layout");

// The journal: a header, then `bytes` bytes. Numbers little endian, as the machine's.

enum record_kind { WROTE = 1, TRUNCATED, SYNCED, DOOMED, CREATED, RENAMED, UNLINKED, MADE_DIRECTORY };
typedef struct record {
    uint32_t kind;
    uint32_t bytes;     // what follows: old bytes, or paths
    uint64_t inode;     // the file; of SYNCED also a directory
    uint64_t directory; // CREATED, RENAMED, UNLINKED, MADE_DIRECTORY: whose sync makes it durable
    uint64_t offset;    // WROTE; TRUNCATED: new size; RENAMED, UNLINKED: number of the link in JOURNAL.d that keeps what was lost; 0 none
    uint64_t length;    // WROTE
    uint64_t old_size;  // WROTE, TRUNCATED
} record;

static char roots[8][PATH_MAX];
static int root_count;
static rule *rules;
static int journal = -1;
static char kept[PATH_MAX];
static uint64_t links_made;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define REAL(name, result, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static int real_open_file(const char *path, int flags, mode_t mode) {
    REAL(open, int, const char *, int, ...);
    return real_open(path, flags, mode);
}

static void begin(void) {
    const char *text = getenv("FAULTY_ROOT");
    while (text && *text && root_count < 8) {
        size_t length = strcspn(text, ":");
        if (length > 1 && length < PATH_MAX) {
            memcpy(roots[root_count], text, length);
            root_count++;
        }
        text += length + (text[length] == ':');
    }
    const char *control = getenv("FAULTY_CONTROL");
    if (control) {
        int file = real_open_file(control, O_RDWR | O_CLOEXEC, 0);
        void *map = file < 0 ? MAP_FAILED : mmap(NULL, RULES * sizeof(rule), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (map == MAP_FAILED) {
            dprintf(2, "faulty: cannot map %s: %s\n", control, strerror(errno));
            _exit(70);
        }
        close(file);
        rules = map;
    }
    const char *name = getenv("FAULTY_JOURNAL");
    if (name) {
        journal = real_open_file(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        const char *place = getenv("FAULTY_KEPT");
        snprintf(kept, sizeof kept, "%s%s", place ? place : name, place ? "" : ".d");
        // Not by our own name: it would wait for this function to end.
        REAL(mkdir, int, const char *, mode_t);
        // Out of the way: programs look at how many low descriptors they have.
        if (journal >= 0) {
            int high = fcntl(journal, F_DUPFD_CLOEXEC, 400);
            if (high >= 0) {
                close(journal);
                journal = high;
            }
        }
        if (journal < 0 || (real_mkdir(kept, 0700) != 0 && errno != EEXIST)) {
            dprintf(2, "faulty: cannot write %s: %s\n", name, strerror(errno));
            _exit(70);
        }
    }
}

// Which calls are ours

static int is_below(const char *path) {
    for (int i = 0; i < root_count; i++) {
        size_t length = strlen(roots[i]);
        if (strncmp(path, roots[i], length) == 0 && (path[length] == '/' || path[length] == 0)) return 1;
    }
    return 0;
}

static int absolute(const char *path, char *out) {
    pthread_once(&once, begin);
    if (!root_count || !path) return 0;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX) return 0;
        strcpy(out, path);
    } else {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here) || snprintf(out, PATH_MAX, "%s/%s", here, path) >= PATH_MAX) return 0;
    }
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/') out[--length] = 0;
    return is_below(out);
}

static int path_of(int descriptor, char *out) {
    pthread_once(&once, begin);
    if (!root_count) return 0;
    int saved = errno;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, out, PATH_MAX - 1);
    errno = saved;
    if (length <= 0) return 0;
    out[length] = 0;
    return is_below(out);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void wait_for(rule *rule, uint32_t ms) {
    for (uint32_t done = 0; done < ms; done++) {
        struct timespec time = {0, 1000000};
        nanosleep(&time, NULL);
        if (__atomic_load_n(&rule->ops, __ATOMIC_ACQUIRE) == 0) return;
    }
}

// The rule that hits, and as it was then: it may be cleared while the call is on its way.
static __thread rule *hitting;
static __thread rule as_it_was;

// The rule that hits this call; NULL if none does. Waits its delay; does not come back if the call is to be the process's last.
static rule *hit(enum op op, const char *path) {
    if (!rules) return NULL;
    for (int i = 0; i < RULES; i++) {
        rule *rule = &rules[i];
        int64_t count = __atomic_load_n(&rule->count, __ATOMIC_ACQUIRE);
        if (count == 0 || !(rule->ops & op) || (rule->match[0] && !strstr(path, rule->match))) continue;
        if (rule->skip > 0) {
            __atomic_fetch_sub(&rule->skip, 1, __ATOMIC_RELAXED);
            continue;
        }
        hitting = rule;
        as_it_was = *rule;
        if (as_it_was.ops == 0) continue;
        if (as_it_was.mode == MODE_BUDGET && as_it_was.value > 0) return &as_it_was;
        if (count > 0) __atomic_fetch_sub(&rule->count, 1, __ATOMIC_ACQ_REL);
        __atomic_fetch_add(&rule->hits, 1, __ATOMIC_RELAXED);
        if (as_it_was.delay_ms) wait_for(rule, as_it_was.delay_ms);
        if (as_it_was.mode == MODE_KILL_BEFORE) die();
        if (as_it_was.mode == MODE_FAIL && as_it_was.error == 0) return NULL;
        return &as_it_was;
    }
    return NULL;
}

static int fails(const rule *rule) {
    return rule && rule->error && rule->mode != MODE_SHORT && !(rule->mode == MODE_BUDGET && rule->value > 0) && rule->mode < MODE_RATIO;
}

static void perhaps_die_after(const rule *rule) {
    if (rule && (rule->mode == MODE_KILL_DURING || rule->mode == MODE_KILL_AFTER)) die();
}

// What is remembered

static void note(record head, const void *bytes, size_t count, const void *more, size_t more_count) {
    if (journal < 0) return;
    int saved = errno;
    head.bytes = (uint32_t)(count + more_count);
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)bytes, count}, {(void *)more, more_count}};
    // One write, so that a kill leaves whole records, or one torn at the end.
    if (writev(journal, parts, 3) != (ssize_t)(sizeof head + head.bytes)) {
        dprintf(2, "faulty: cannot write the journal: %s\n", strerror(errno));
        _exit(70);
    }
    errno = saved;
}

static uint64_t inode_of(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 ? status.st_ino : 0;
}

static uint64_t parent_inode(const char *path) {
    char parent[PATH_MAX];
    strcpy(parent, path);
    char *slash = strrchr(parent, '/');
    if (!slash) return 0;
    slash[slash == parent] = 0;
    return inode_of(parent);
}

// Keeps a second name of a file that is about to lose its own.
static uint64_t keep(const char *path) {
    if (journal < 0) return 0;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t number = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + links_made++;
    char name[PATH_MAX + 32];
    snprintf(name, sizeof name, "%s/%llu", kept, (unsigned long long)number);
    REAL(link, int, const char *, const char *);
    return real_link(path, name) == 0 ? number : 0;
}

static void note_change(int descriptor, enum record_kind kind, uint64_t offset, uint64_t length) {
    if (journal < 0) return;
    struct stat status;
    if (fstat(descriptor, &status) != 0) return;
    record head = {.kind = kind, .inode = status.st_ino, .offset = offset, .length = length, .old_size = (uint64_t)status.st_size};
    uint64_t end = kind == WROTE ? offset + length : head.old_size;
    if (end > head.old_size) end = head.old_size;
    size_t count = offset < end ? end - offset : 0;
    unsigned char *old = count ? malloc(count) : NULL;
    REAL(pread, ssize_t, int, void *, size_t, off_t);
    if (count && (!old || real_pread(descriptor, old, count, (off_t)offset) != (ssize_t)count)) {
        dprintf(2, "faulty: cannot read what is to be overwritten\n");
        _exit(70);
    }
    note(head, old, count, NULL, 0);
    free(old);
}

static void note_sync(int descriptor, enum record_kind kind) {
    struct stat status;
    if (journal >= 0 && fstat(descriptor, &status) == 0) note((record){.kind = kind, .inode = status.st_ino}, NULL, 0, NULL, 0);
}

// A failed sync that loses its pages: undoes, last change first, what this file's changes since its last sync have done.
static void lose(int descriptor) {
    struct stat status;
    if (journal < 0 || fstat(descriptor, &status) != 0) return;
    REAL(pread, ssize_t, int, void *, size_t, off_t);
    REAL(pwrite, ssize_t, int, const void *, size_t, off_t);
    REAL(ftruncate, int, int, off_t);
    off_t *changes = NULL;
    size_t count = 0, room = 0;
    record head;
    for (off_t at = 0; real_pread(journal, &head, sizeof head, at) == (ssize_t)sizeof head; at += (off_t)(sizeof head + head.bytes)) {
        if (head.inode != status.st_ino) continue;
        if (head.kind == SYNCED || head.kind == CREATED) count = 0;
        if (head.kind != WROTE && head.kind != TRUNCATED) continue;
        if (count == room) {
            room = room ? room * 2 : 64;
            changes = realloc(changes, room * sizeof *changes);
        }
        changes[count++] = at;
    }
    while (count-- > 0) {
        real_pread(journal, &head, sizeof head, changes[count]);
        unsigned char *old = malloc(head.bytes + 1u);
        real_pread(journal, old, head.bytes, changes[count] + (off_t)sizeof head);
        if (real_ftruncate(descriptor, (off_t)head.old_size) != 0) dprintf(2, "faulty: cannot cut\n");
        if (head.bytes && real_pwrite(descriptor, old, head.bytes, (off_t)head.offset) < 0) dprintf(2, "faulty: cannot undo\n");
        free(old);
    }
    free(changes);
    // Nothing of it is left to lose.
    note_sync(descriptor, SYNCED);
}

#define GUARDED(...) do { pthread_mutex_lock(&lock); __VA_ARGS__; pthread_mutex_unlock(&lock); } while (0)
#define FAIL(rule) do { errno = (rule)->error; return -1; } while (0)

// The calls

static int open_any(const char *given, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!absolute(given, path)) return real_open_file(given, flags, mode);
    struct stat status;
    int saved = errno, creates = (flags & O_CREAT) && lstat(path, &status) != 0;
    errno = saved;
    rule *rule = hit(creates ? OP_CREATE : OP_OPEN, path);
    if (fails(rule)) FAIL(rule);
    int descriptor = real_open_file(given, flags, mode);
    if (descriptor >= 0 && creates) {
        record head = {.kind = CREATED, .inode = inode_of(path), .directory = parent_inode(path)};
        GUARDED(note(head, path, strlen(path) + 1, NULL, 0));
    }
    if (descriptor >= 0 && !creates && (flags & O_TRUNC)) GUARDED(note_change(descriptor, TRUNCATED, 0, 0));
    perhaps_die_after(rule);
    return descriptor;
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return open_any(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return open_any(path, flags | O_LARGEFILE, mode);
}

static ssize_t pwrite_any(int descriptor, const void *bytes, size_t count, off_t offset) {
    REAL(pwrite, ssize_t, int, const void *, size_t, off_t);
    char path[PATH_MAX];
    if (!path_of(descriptor, path)) return real_pwrite(descriptor, bytes, count, offset);
    rule *rule = hit(OP_PWRITE, path);
    if (fails(rule)) FAIL(rule);
    if (rule && count > 1 && (rule->mode == MODE_SHORT || rule->mode == MODE_KILL_DURING)) count /= 2;
    if (rule && rule->mode == MODE_BUDGET) {
        if ((int64_t)count > rule->value) count = (size_t)rule->value;
        __atomic_fetch_sub(&hitting->value, (int64_t)count, __ATOMIC_RELAXED);
    }
    ssize_t result;
    GUARDED(note_change(descriptor, WROTE, (uint64_t)offset, count); result = real_pwrite(descriptor, bytes, count, offset));
    perhaps_die_after(rule);
    return result;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) { return pwrite_any(descriptor, bytes, count, offset); }
ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) { return pwrite_any(descriptor, bytes, count, offset); }

static ssize_t pread_any(int descriptor, void *bytes, size_t count, off_t offset) {
    REAL(pread, ssize_t, int, void *, size_t, off_t);
    char path[PATH_MAX];
    if (rules && path_of(descriptor, path)) {
        rule *rule = hit(OP_PREAD, path);
        if (fails(rule)) FAIL(rule);
        if (rule && rule->mode == MODE_SHORT && count > 1) count /= 2;
    }
    return real_pread(descriptor, bytes, count, offset);
}

ssize_t pread(int descriptor, void *bytes, size_t count, off_t offset) { return pread_any(descriptor, bytes, count, offset); }
ssize_t pread64(int descriptor, void *bytes, size_t count, off64_t offset) { return pread_any(descriptor, bytes, count, offset); }

static int sync_any(int descriptor, int (*real)(int)) {
    char path[PATH_MAX];
    if (!path_of(descriptor, path)) return real(descriptor);
    struct stat status;
    int is_directory = fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode);
    rule *rule = hit(is_directory ? OP_SYNCDIR : OP_FDATASYNC, path);
    if (rule && rule->error && !is_directory && rule->mode == MODE_LOSE) GUARDED(lose(descriptor));
    if (rule && rule->error && !is_directory && rule->mode == MODE_DOOM) GUARDED(note_sync(descriptor, DOOMED));
    if (fails(rule)) FAIL(rule);
    if (rule && rule->mode == MODE_LIE) return 0;
    int result = real(descriptor);
    if (result == 0) GUARDED(note_sync(descriptor, SYNCED));
    perhaps_die_after(rule);
    return result;
}

int fdatasync(int descriptor) {
    REAL(fdatasync, int, int);
    return sync_any(descriptor, real_fdatasync);
}

int fsync(int descriptor) {
    REAL(fsync, int, int);
    return sync_any(descriptor, real_fsync);
}

static int ftruncate_any(int descriptor, off_t size) {
    REAL(ftruncate, int, int, off_t);
    char path[PATH_MAX];
    if (!path_of(descriptor, path)) return real_ftruncate(descriptor, size);
    rule *rule = hit(OP_FTRUNCATE, path);
    if (fails(rule)) FAIL(rule);
    int result;
    GUARDED(note_change(descriptor, TRUNCATED, (uint64_t)size, 0); result = real_ftruncate(descriptor, size));
    perhaps_die_after(rule);
    return result;
}

int ftruncate(int descriptor, off_t size) { return ftruncate_any(descriptor, size); }
int ftruncate64(int descriptor, off64_t size) { return ftruncate_any(descriptor, size); }

int rename(const char *from, const char *to) {
    REAL(rename, int, const char *, const char *);
    char one[PATH_MAX], two[PATH_MAX];
    if (!absolute(from, one) || !absolute(to, two)) return real_rename(from, to);
    rule *rule = hit(OP_RENAME, two);
    if (fails(rule)) FAIL(rule);
    pthread_mutex_lock(&lock);
    record head = {.kind = RENAMED, .inode = inode_of(one), .directory = parent_inode(two), .offset = keep(two)};
    int result = real_rename(from, to);
    if (result == 0) note(head, one, strlen(one) + 1, two, strlen(two) + 1);
    pthread_mutex_unlock(&lock);
    perhaps_die_after(rule);
    return result;
}

int unlink(const char *given) {
    REAL(unlink, int, const char *);
    char path[PATH_MAX];
    if (!absolute(given, path)) return real_unlink(given);
    rule *rule = hit(OP_UNLINK, path);
    if (fails(rule)) FAIL(rule);
    pthread_mutex_lock(&lock);
    record head = {.kind = UNLINKED, .inode = inode_of(path), .directory = parent_inode(path), .offset = keep(path)};
    int result = real_unlink(given);
    if (result == 0) note(head, path, strlen(path) + 1, NULL, 0);
    pthread_mutex_unlock(&lock);
    perhaps_die_after(rule);
    return result;
}

int mkdir(const char *given, mode_t mode) {
    REAL(mkdir, int, const char *, mode_t);
    char path[PATH_MAX];
    if (!absolute(given, path)) return real_mkdir(given, mode);
    rule *rule = hit(OP_MKDIR, path);
    if (fails(rule)) FAIL(rule);
    int result = real_mkdir(given, mode);
    char parent[PATH_MAX];
    strcpy(parent, path);
    *strrchr(parent, '/') = 0;
    // The root's own name belongs to a directory whose sync is not seen here.
    if (result == 0 && is_below(parent)) {
        record head = {.kind = MADE_DIRECTORY, .inode = inode_of(path), .directory = parent_inode(path)};
        GUARDED(note(head, path, strlen(path) + 1, NULL, 0));
    }
    perhaps_die_after(rule);
    return result;
}

static int fallocate_any(int descriptor, off_t offset, off_t length, int (*real)(int, int, off_t, off_t), int mode, int returns_error) {
    char path[PATH_MAX];
    if (path_of(descriptor, path)) {
        rule *rule = hit(OP_FALLOCATE, path);
        if (rule && rule->mode == MODE_BUDGET) {
            if (length <= rule->value) {
                __atomic_fetch_sub(&hitting->value, (int64_t)length, __ATOMIC_RELAXED);
                rule = NULL;
            }
        }
        if (rule && rule->error && rule->mode < MODE_RATIO) {
            if (returns_error) return rule->error;
            FAIL(rule);
        }
    }
    return real(descriptor, mode, offset, length);
}

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
    REAL(fallocate, int, int, int, off_t, off_t);
    return fallocate_any(descriptor, offset, length, real_fallocate, mode, 0);
}

static int posix_fallocate_shim(int descriptor, int mode, off_t offset, off_t length) {
    (void)mode;
    REAL(posix_fallocate, int, int, off_t, off_t);
    return real_posix_fallocate(descriptor, offset, length);
}

int posix_fallocate(int descriptor, off_t offset, off_t length) {
    return fallocate_any(descriptor, offset, length, posix_fallocate_shim, 0, 1);
}

int fallocate64(int descriptor, int mode, off64_t offset, off64_t length) { return fallocate(descriptor, mode, offset, length); }
int posix_fallocate64(int descriptor, off64_t offset, off64_t length) { return posix_fallocate(descriptor, offset, length); }

static int claim_used(const char *path, struct statvfs *out, int result) {
    rule *rule = hit(OP_STATVFS, path);
    if (fails(rule)) FAIL(rule);
    if (result == 0 && rule && rule->mode == MODE_RATIO) {
        out->f_bavail = (fsblkcnt_t)((double)out->f_blocks * (double)(1000 - rule->value) / 1000.0);
        out->f_bfree = out->f_bavail;
    }
    return result;
}

int statvfs(const char *given, struct statvfs *out) {
    REAL(statvfs, int, const char *, struct statvfs *);
    char path[PATH_MAX];
    int result = real_statvfs(given, out);
    return absolute(given, path) ? claim_used(path, out, result) : result;
}

int fstatvfs(int descriptor, struct statvfs *out) {
    REAL(fstatvfs, int, int, struct statvfs *);
    char path[PATH_MAX];
    int result = real_fstatvfs(descriptor, out);
    return path_of(descriptor, path) ? claim_used(path, out, result) : result;
}

int statvfs64(const char *path, struct statvfs64 *out) { return statvfs(path, (struct statvfs *)out); }
int fstatvfs64(int descriptor, struct statvfs64 *out) { return fstatvfs(descriptor, (struct statvfs *)out); }

typedef struct __dirstream DIR;
DIR *opendir(const char *given) {
    REAL(opendir, DIR *, const char *);
    char path[PATH_MAX];
    if (absolute(given, path)) {
        rule *rule = hit(OP_OPENDIR, path);
        if (fails(rule)) {
            errno = rule->error;
            return NULL;
        }
    }
    return real_opendir(given);
}

int flock(int descriptor, int operation) {
    REAL(flock, int, int, int);
    char path[PATH_MAX];
    if (path_of(descriptor, path)) {
        rule *rule = hit(OP_FLOCK, path);
        if (fails(rule)) FAIL(rule);
    }
    return real_flock(descriptor, operation);
}
