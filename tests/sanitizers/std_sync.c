/* Describes to ThreadSanitizer the two functions of Rust's standard library with which libbusy waits for other threads.
 * The standard library comes compiled without instrumentation, so ThreadSanitizer does not see their atomic operations;
 * those that are inlined into libbusy it does see. The linker redirects the calls here (--wrap), and main.rs passes the
 * mangled names.
 */

void __tsan_acquire(void *address);
void __tsan_release(void *address);

/* std::sys::sync::mutex::futex::Mutex::lock_contended: waits for the mutex and takes it. */
void real_lock(void *mutex) __asm__("__real_" LOCK);
void wrapped_lock(void *mutex) __asm__("__wrap_" LOCK);

void wrapped_lock(void *mutex)
{
    real_lock(mutex);
    __tsan_acquire(mutex);
}

/* std::sys::sync::once::futex::Once::call(&self, bool, &mut dyn FnMut): calls the function, or waits until another thread
 * has called it. */
void real_once(void *once, long ignore_poisoning, void *function, void *methods) __asm__("__real_" ONCE);
void wrapped_once(void *once, long ignore_poisoning, void *function, void *methods) __asm__("__wrap_" ONCE);

void wrapped_once(void *once, long ignore_poisoning, void *function, void *methods)
{
    real_once(once, ignore_poisoning, function, methods);
    __tsan_acquire(once);
    __tsan_release(once);
}
