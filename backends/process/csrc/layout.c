#include "layout.h"

#include <string.h>

#define FIELD(type, name) (uint32_t)offsetof(struct type, name), (uint32_t)sizeof(((struct type *)0)->name)

/* Every field whose place matters to somebody else. Two builds that disagree about one of them refuse each other. */
static const uint32_t fields[] = {
    FIELD(rwl_record, word), FIELD(rwl_record, grant), FIELD(rwl_record, slot), FIELD(rwl_record, generation),
    FIELD(rwl_record, serial), FIELD(rwl_record, arrival), FIELD(rwl_record, wanted), FIELD(rwl_record, patience),
    FIELD(rwl_record, since), FIELD(rwl_record, owner), FIELD(rwl_record, place), FIELD(rwl_record, timer),
    FIELD(rwl_record, bell), FIELD(rwl_record, delivered), FIELD(rwl_record, abandoned),
    FIELD(rwl_slot, generation), FIELD(rwl_slot, state), FIELD(rwl_slot, pid), FIELD(rwl_slot, uid),
    FIELD(rwl_slot, pid_namespace), FIELD(rwl_slot, start_time),
    FIELD(rwl_header, layout_hash), FIELD(rwl_header, total_size), FIELD(rwl_header, instance),
    FIELD(rwl_header, boot), FIELD(rwl_header, max_processes), FIELD(rwl_header, max_holds),
    FIELD(rwl_header, on_writer_death), FIELD(rwl_header, creator_uid), FIELD(rwl_header, policy),
    FIELD(rwl_header, ready),
    FIELD(rwl_policy, after_write), FIELD(rwl_policy, while_reading), FIELD(rwl_policy, max_batch),
    FIELD(rwl_policy, max_consecutive_writers), FIELD(rwl_policy, max_writer_wait),
    FIELD(rwl_facts, now), FIELD(rwl_facts, arrivals), FIELD(rwl_facts, serials), FIELD(rwl_facts, held_back),
    FIELD(rwl_facts, writes_in_a_row), FIELD(rwl_facts, writer_died), FIELD(rwl_facts, epoch),
    FIELD(rwl_totals, acquisitions), FIELD(rwl_totals, contended), FIELD(rwl_totals, timeouts),
    FIELD(rwl_totals, cancellations), FIELD(rwl_totals, longest_wait), FIELD(rwl_totals, repairs),
    FIELD(rwl_totals, reaped),
    FIELD(rwl_line, head), FIELD(rwl_line, tail), FIELD(rwl_line, length), FIELD(rwl_line, spent),
    FIELD(rwl_cache, readers), FIELD(rwl_cache, upgradable), FIELD(rwl_cache, upgrading), FIELD(rwl_cache, writer),
    FIELD(rwl_cache, contended), FIELD(rwl_cache, free), FIELD(rwl_cache, waiting), FIELD(rwl_cache, young),
    FIELD(rwl_state, gate), FIELD(rwl_state, passes), FIELD(rwl_state, dirty), FIELD(rwl_state, facts),
    FIELD(rwl_state, cache), FIELD(rwl_state, abandoned), FIELD(rwl_state, totals),
    sizeof(struct rwl_record), sizeof(struct rwl_slot), RWL_STATE_OFFSET, RWL_SLOTS_OFFSET,
    RWL_WORD_KNOWN, RWL_WORD_PENDING, RWL_WORD_POKED, RWL_WORD_SPENT, RWL_WORD_LOST,
};

/* FNV-1a over the table. */
uint64_t rwl_layout_hash(void) {
    uint64_t hash = 0xcbf29ce484222325ull ^ RWL_LAYOUT_VERSION;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        hash = (hash ^ fields[i]) * 0x100000001b3ull;
    }
    return hash;
}

uint64_t rwl_segment_size(uint32_t max_processes, uint32_t max_holds) {
    return RWL_SLOTS_OFFSET + (uint64_t)max_processes * sizeof(struct rwl_slot) +
           (uint64_t)max_holds * sizeof(struct rwl_record);
}

bool rwl_policy_valid(const struct rwl_policy *policy) {
    return policy->after_write < RWL_ORDERS && policy->while_reading < RWL_ORDERS && policy->max_batch > 0 &&
           policy->max_consecutive_writers > 0;
}

static bool in_range(const struct rwl_config *config) {
    return config->max_processes >= 1 && config->max_processes <= RWL_MAX_PROCESSES && config->max_holds >= 1 &&
           config->max_holds <= RWL_MAX_HOLDS && config->on_writer_death < RWL_DEATHS &&
           rwl_policy_valid(&config->policy);
}

static void lay_out(void *base, const struct rwl_config *config, struct rwl_view *view) {
    unsigned char *bytes = base;
    view->state = (struct rwl_state *)(void *)(bytes + RWL_STATE_OFFSET);
    view->slots = (struct rwl_slot *)(void *)(bytes + RWL_SLOTS_OFFSET);
    view->records = (struct rwl_record *)(void *)(bytes + RWL_SLOTS_OFFSET +
                                                  config->max_processes * sizeof(struct rwl_slot));
    view->max_processes = config->max_processes;
    view->max_holds = config->max_holds;
    view->on_writer_death = config->on_writer_death;
    view->policy = config->policy;
}

static void empty(struct rwl_view *view) {
    struct rwl_cache *cache = &view->state->cache;
    cache->upgradable = cache->upgrading = cache->writer = RWL_NIL;
    for (int i = 0; i < RWL_MODES; i++) {
        cache->waiting[i].head = cache->waiting[i].tail = RWL_NIL;
    }
    cache->young.head = cache->young.tail = RWL_NIL;
    for (uint32_t i = 0; i < view->max_holds; i++) {
        view->records[i].place.before = RWL_NIL;
        view->records[i].place.after = i + 1 < view->max_holds ? i + 1 : RWL_NIL;
        view->records[i].timer.before = view->records[i].timer.after = RWL_NIL;
    }
    cache->free = 0;
}

bool rwl_format(void *base, uint64_t size, const struct rwl_config *config) {
    if (!in_range(config) || size != rwl_segment_size(config->max_processes, config->max_holds)) {
        return false;
    }
    struct rwl_header *header = base;
    header->version = RWL_LAYOUT_VERSION;
    header->header_size = RWL_HEADER_SIZE;
    header->layout_hash = rwl_layout_hash();
    header->byte_order = RWL_BYTE_ORDER;
    header->total_size = size;
    memcpy(header->instance, config->instance, sizeof header->instance);
    memcpy(header->boot, config->boot, sizeof header->boot);
    header->max_processes = config->max_processes;
    header->max_holds = config->max_holds;
    header->on_writer_death = config->on_writer_death;
    header->creator_uid = config->creator_uid;
    header->policy = config->policy;
    struct rwl_view view;
    lay_out(base, config, &view);
    empty(&view);
    header->magic = RWL_MAGIC;
    /* Last of all: whoever sees this sees the rest. */
    atomic_store_explicit(&header->ready, RWL_READY, memory_order_release);
    return true;
}

int rwl_inspect(void *base, uint64_t size, const uint8_t boot[16], struct rwl_view *view, struct rwl_config *config) {
    struct rwl_header *shared = base;
    if (size < RWL_HEADER_SIZE) {
        return RWL_CHECK_SMALL;
    }
    uint32_t ready = atomic_load_explicit(&shared->ready, memory_order_acquire);
    struct rwl_header header; /* what is checked is what is used: nobody can change it in between */
    memcpy(&header, base, sizeof header);
    if (header.magic != RWL_MAGIC) {
        bool swapped = __builtin_bswap64(header.magic) == RWL_MAGIC;
        return swapped ? RWL_CHECK_ORDER : RWL_CHECK_MAGIC;
    }
    if (header.byte_order != RWL_BYTE_ORDER) {
        return RWL_CHECK_ORDER;
    }
    if (header.version != RWL_LAYOUT_VERSION || header.layout_hash != rwl_layout_hash() ||
        header.header_size != RWL_HEADER_SIZE) {
        return RWL_CHECK_VERSION;
    }
    if (ready != RWL_READY) {
        return RWL_CHECK_READY;
    }
    config->max_processes = header.max_processes;
    config->max_holds = header.max_holds;
    config->on_writer_death = header.on_writer_death;
    config->creator_uid = header.creator_uid;
    config->policy = header.policy;
    memcpy(config->instance, header.instance, sizeof config->instance);
    memcpy(config->boot, header.boot, sizeof config->boot);
    if (!in_range(config)) {
        return RWL_CHECK_VALUES;
    }
    if (size != header.total_size || size != rwl_segment_size(config->max_processes, config->max_holds)) {
        return RWL_CHECK_SIZE;
    }
    if (memcmp(header.boot, boot, sizeof header.boot) != 0) {
        return RWL_CHECK_BOOT;
    }
    lay_out(base, config, view);
    return RWL_CHECK_OK;
}
