// What a trading thread pays for one line of a common asynchronous logger: spdlog, ten fields of the same rows.
//
//   publish-spdlog FILE latency|burst ROWS [INTERVAL_NS]
#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include "cbench.h"

static inline void log_row(spdlog::logger &log, const bench_values &v) {
    log.info("{} {} {} {} {} {} {} {} {} {}", v.ts, v.seq_no, v.order_id, v.price, v.qty, v.bid, v.ask, bench_symbols[v.symbol],
             bench_strategies[v.strategy], std::string_view(v.client_id, BENCH_CLIENT_ID));
}

int main(int argc, char **argv) {
    if (argc < 4) return 64;
    uint64_t rows = strtoull(argv[3], nullptr, 10);
    double interval = argc > 4 ? atof(argv[4]) : 1000;
    spdlog::init_thread_pool(8192, 1); // its default
    auto log = spdlog::basic_logger_mt<spdlog::async_factory>("bench", argv[1], true);
    static bench_histogram histogram;
    static bench_values made[1024];
    bench_source source;
    bench_begin(&source, 1);
    for (auto &v : made) bench_next(&source, &v);
    bench_histogram_begin(&histogram);
    double cpu = 0;
    if (!strcmp(argv[2], "latency")) {
        uint64_t start = bench_ticks();
        for (uint64_t i = 0; i < rows; i++) {
            bench_values &v = made[i % 1024];
            bench_next(&source, &v);
            bench_pace(&histogram, start, i, interval);
            uint64_t before = bench_ticks();
            log_row(*log, v);
            bench_record(&histogram, bench_ticks() - before);
        }
    } else {
        cpu = bench_cpu();
        for (uint64_t i = 0; i < rows; i++) log_row(*log, made[i % 1024]);
        cpu = (bench_cpu() - cpu) / (double)rows * 1e9;
        histogram.count = rows;
    }
    spdlog::shutdown();
    bench_print(argv[2], &histogram, cpu, 0, 0);
    return 0;
}
