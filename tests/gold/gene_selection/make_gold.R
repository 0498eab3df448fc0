# Runs the R packages M3Drop and SCMarker on counts.csv.gz and writes what they say beside it.
#
#     Rscript make_gold.R        (in this folder; the versions used are in versions.txt)

library(M3Drop)
library(SCMarker)

cells <- read.csv(gzfile("counts.csv.gz"), check.names = FALSE)
counts <- t(as.matrix(cells))
colnames(counts) <- paste0("c", seq_len(ncol(counts)))
save_csv <- function(table, name) {
  # 17 digits give every double back
  table[] <- lapply(table, function(x) if (is.numeric(x)) formatC(x, digits = 17, format = "g") else x)
  write.csv(table, name, row.names = FALSE, quote = FALSE)
}

# M3Drop, from raw counts (its conversion needs a sparse matrix under R >= 4.2)
normalised <- M3DropConvertData(Matrix::Matrix(counts, sparse = TRUE), is.counts = TRUE)
gene <- bg__calc_variables(normalised)
fit <- bg__fit_MM(gene$p, gene$s)
test <- bg__test_DE_K_equiv(gene, fit)
save_csv(data.frame(gene = names(gene$s), dropout = gene$p, mean = gene$s, p_value = test$pval,
                    effect = test$fold_change), "m3drop.csv")
save_csv(data.frame(K = fit$K, sigma = fit$fitted_err), "m3drop_fit.csv")
for (method in c("bon", "fdr")) {
  table <- M3DropFeatureSelection(normalised, mt_method = method, mt_threshold = 0.05, suppress.plot = TRUE)
  writeLines(as.character(table$Gene), paste0("m3drop_", method, ".txt"))
}

# NBumi, from raw counts
model <- NBumiFitModel(counts)
line <- NBumiFitDispVsMean(model, suppress.plot = TRUE)
save_csv(data.frame(intercept = line[[1]], slope = line[[2]]), "nbumi_fit.csv")
dropout <- NBumiFeatureSelectionCombinedDrop(model, suppress.plot = TRUE)
save_csv(data.frame(gene = dropout$Gene, excess = dropout$effect_size, p_value = dropout$p.value,
                    q_value = dropout$q.value), "nbumi_dropout.csv")
variance <- NBumiFeatureSelectionHighVar(model)
save_csv(data.frame(gene = names(variance), below = variance), "nbumi_high_variance.csv")

# SCMarker, from raw counts at width 2 and from log-normalised values at widths 1 and 0.7
totals <- colSums(counts)
logged <- log1p(t(t(counts) / totals * median(totals)))
settings <- list(
  list(name = "counts_width2", data = counts, width = 2, cutoff = 2, k = 30, n = 12),
  list(name = "counts_width2_k5", data = counts, width = 2, cutoff = 2, k = 5, n = 3),
  list(name = "log_width1", data = logged, width = 1, cutoff = 1, k = 15, n = 10),
  list(name = "log_width07", data = logged, width = 0.7, cutoff = 1, k = 300, n = 40)
)
for (s in settings) {
  modal <- ModalFilter(s$data, geneK = 10, cellK = 10, width = s$width, cutoff = s$cutoff)
  writeLines(as.character(modal$geneSumm$gene), paste0("scmarker_modal_", s$name, ".txt"))
  marked <- getMarker(GeneFilter(modal), k = s$k, n = s$n)
  writeLines(as.character(marked$marker), paste0("scmarker_markers_", s$name, ".txt"))
}

writeLines(c(R.version.string, paste("M3Drop", packageVersion("M3Drop")),
             paste("SCMarker", packageVersion("SCMarker")), paste("bbmle", packageVersion("bbmle")),
             paste("Matrix", packageVersion("Matrix"))), "versions.txt")
